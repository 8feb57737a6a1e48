//! Certificates as an operator makes them, on disk.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Parser as _;
use ranch_proto::tls::{Identity, Material};

use super::*;

#[derive(Debug, clap::Parser)]
struct Words {
    #[command(subcommand)]
    command: CertsCommand,
}

/// Runs `ranch certs` with these words, on a ranch of the defaults in `dir`.
fn say(dir: &Path, words: &[&str]) -> Result<(), String> {
    let config = dir.join("ranch.toml");
    fs::write(&config, "[cluster]\nname = 'the farm'\n").unwrap();
    let (config, certs) = (config.display().to_string(), dir.join("certs").display().to_string());
    let words = ["certs"].iter().chain(words).copied();
    let words = words.chain(["--config", &config, "--dir", &certs]);
    run(&Words::parse_from(words).command).map_err(|error| error.to_string())
}

/// Every file and what is in it.
fn all(dir: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(dir.join("certs")).unwrap().map(|entry| entry.unwrap());
    let file = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().to_string_lossy().into_owned(), text)
    };
    files.map(file).collect()
}

fn opens(dir: &Path, stem: &str, identity: &str) -> Result<(), String> {
    let files = CertFiles::new(dir.join("certs"));
    let identity: Identity = identity.parse().unwrap();
    Material::open(&files, stem, &identity).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_ranch_gets_its_certificates_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    say(dir, &["init", "--san", "ranch.example.org"]).unwrap();
    let made = all(dir);
    let names: Vec<_> = made.keys().map(String::as_str).collect();
    let stems = ["ca", "node1", "node2", "node3", "router"];
    let expected = stems.iter().flat_map(|s| [format!("{s}.crt"), format!("{s}.key")]);
    assert_eq!(names, expected.collect::<Vec<_>>());
    for name in stems.map(|stem| format!("{stem}.key")) {
        let about = fs::metadata(dir.join("certs").join(&name)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{name}");
    }
    opens(dir, "node2", "ranch://the%20farm/node/2").unwrap();
    opens(dir, "router", "ranch://the%20farm/router").unwrap();
    let path = dir.join("certs/router.crt");
    let router = ranch_proto::tls::certificates(&path, made["router.crt"].as_bytes()).unwrap();
    for name in ["127.0.0.1", "localhost", "ranch.example.org"] {
        assert!(router[0].names.iter().any(|known| known == name), "{:?}", router[0].names);
    }
    // Nothing is written over without being asked for.
    for words in [&["init"][..], &["issue", "node2"], &["issue", "router"], &["init", "--ca-only"]]
    {
        let refused = say(dir, words).unwrap_err();
        assert!(refused.contains("is there already"), "{words:?}: {refused}");
    }
    say(dir, &["issue", "--all"]).unwrap();
    assert_eq!(all(dir), made);
    say(dir, &["issue", "2", "--force"]).unwrap();
    let forced = all(dir);
    let changed: Vec<_> = forced.iter().filter(|(name, text)| made[*name] != **text).collect();
    assert_eq!(changed.len(), 2, "its certificate and key");
    opens(dir, "node2", "ranch://the%20farm/node/2").unwrap();
}

#[test]
fn what_cannot_be_made_is_told_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(say(dir, &["issue", "--all"]).unwrap_err().contains("ranch certs init"));
    say(dir, &["init", "--ca-only"]).unwrap();
    assert!(say(dir, &["rotate"]).unwrap_err().contains("no certificates to renew"));
    let made = all(dir);
    for (words, said) in [
        (&["issue", "node9"][..], "node1, node2, node3, or `router`"),
        (&["issue", "node1", "--san", "not a host"], "not a host"),
    ] {
        let refused = say(dir, words).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
    fs::write(dir.join("certs/ca.key"), "nonsense").unwrap();
    assert!(say(dir, &["issue", "node1"]).unwrap_err().contains("ca.key"));
    // The key of another CA makes certificates that nobody would believe.
    let other = tempfile::tempdir().unwrap();
    say(other.path(), &["init", "--ca-only"]).unwrap();
    fs::copy(other.path().join("certs/ca.key"), dir.join("certs/ca.key")).unwrap();
    let refused = say(dir, &["issue", "node1"]).unwrap_err();
    assert!(refused.contains("not the key of the first CA"), "{refused}");
    fs::write(dir.join("certs/ca.key"), &made["ca.key"]).unwrap();
    assert_eq!(all(dir), made);
}

#[test]
fn certificates_and_the_ca_are_renewed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    say(dir, &["init", "--san", "ranch.example.org"]).unwrap();
    let first = all(dir);
    say(dir, &["rotate", "--days", "20"]).unwrap();
    let second = all(dir);
    for (name, text) in &second {
        assert_eq!(first[name] == *text, name.starts_with("ca."), "{name}");
    }
    assert!(show::run(&Config::default(), &CertFiles::new(dir.join("certs")), true).is_ok());
    say(dir, &["rotate", "--ca"]).unwrap();
    let beside = all(dir);
    assert_eq!(beside["ca.crt"].matches("BEGIN CERTIFICATE").count(), 2);
    opens(dir, "node1", "ranch://the%20farm/node/1").expect("the old CA is trusted still");
    let refused = say(dir, &["rotate", "--drop-old-ca"]).unwrap_err();
    assert!(refused.contains("node1.crt is of an older CA still"), "{refused}");
    say(dir, &["rotate"]).unwrap();
    let path = dir.join("certs/router.crt");
    let router = certificates_at(&path);
    assert!(router[0].names.contains(&"ranch.example.org".to_owned()), "names are kept");
    say(dir, &["rotate", "--drop-old-ca"]).unwrap();
    assert_eq!(all(dir)["ca.crt"].matches("BEGIN CERTIFICATE").count(), 1);
    for id in 1..=3 {
        opens(dir, &format!("node{id}"), &format!("ranch://the%20farm/node/{id}")).unwrap();
    }
    for (name, text) in [("node1.crt", &second["node1.crt"]), ("node1.key", &second["node1.key"])] {
        fs::write(dir.join("certs").join(name), text).unwrap();
    }
    let refused = opens(dir, "node1", "ranch://the%20farm/node/1").unwrap_err();
    assert!(refused.contains("is not of a CA in"), "{refused}");
}

/// A machine that joins by token is in no `ranch.toml`: its certificate alone tells of it.
#[test]
fn a_machine_that_is_not_listed_has_a_number_nobody_else_has() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    say(dir, &["init"]).unwrap();
    let made = all(dir);
    for (words, said) in [
        (&["issue", "late", "--id", "2"][..], "node2 of ranch.toml has the id 2 already"),
        (&["issue", "node2", "--id", "4"], "node2 of ranch.toml has the id 2 already"),
        (&["issue", "late"], "gets a certificate with --id"),
        (&["issue", "late", "later", "--id", "4"], "--id is for one machine"),
        (&["issue", "a/b", "--id", "4"], "A-Z a-z 0-9"),
        (&["issue", "ca", "--id", "4"], "no node is called `ca` or `router`"),
        (&["issue", "router", "--id", "4"], "no node is called `ca` or `router`"),
        (&["rotate", "late"], "no [[node]] is named late"),
    ] {
        let refused = say(dir, words).unwrap_err();
        assert!(refused.contains(said), "{words:?}: {refused}");
    }
    assert_eq!(all(dir), made);
    say(dir, &["issue", "late", "--id", "4", "--san", "late.example.org"]).unwrap();
    opens(dir, "late", "ranch://the%20farm/node/4").unwrap();
    let made = all(dir);
    assert_eq!(made.len(), 12);
    for (words, said) in [
        (&["issue", "later", "--id", "4"][..], "late.crt is for node 4 already"),
        (&["issue", "late", "--id", "5", "--force"], "late.crt is for node 4 already"),
        (&["issue", "late", "--id", "4"], "late.crt is there already"),
    ] {
        let refused = say(dir, words).unwrap_err();
        assert!(refused.contains(said), "{words:?}: {refused}");
    }
    assert_eq!(all(dir), made);
    // Listed ones are themselves, with or without their number.
    say(dir, &["issue", "node2", "--id", "2", "--force"]).unwrap();

    // It is renewed with the others, and an older CA is not dropped while it needs it.
    say(dir, &["rotate"]).unwrap();
    assert_ne!(all(dir)["late.crt"], made["late.crt"]);
    let late = certificates_at(&dir.join("certs/late.crt"));
    assert_eq!(late[0].names, ["late.example.org"], "names are kept");
    say(dir, &["rotate", "--ca"]).unwrap();
    say(dir, &["rotate", "node1", "node2", "node3", "router"]).unwrap();
    let refused = say(dir, &["rotate", "--drop-old-ca"]).unwrap_err();
    assert!(refused.contains("late.crt is of an older CA still"), "{refused}");
    say(dir, &["rotate", "4"]).unwrap();
    say(dir, &["rotate", "--drop-old-ca"]).unwrap();
    opens(dir, "late", "ranch://the%20farm/node/4").unwrap();
}

fn certificates_at(path: &Path) -> Vec<ranch_proto::tls::Certificate> {
    ranch_proto::tls::certificates(path, &fs::read(path).unwrap()).unwrap()
}
