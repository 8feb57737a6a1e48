//! What `ranch certs` says: which certificates there are, and what to copy where.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ranch_proto::config::Config;
use ranch_proto::tls::{CA_STEM, CertFiles, EXPIRY_NEAR, certificates, now_s};
use serde::Serialize;
use time::OffsetDateTime;

use super::super::error::CliError;
use super::super::output;
use super::kinds::Kind;

const DAY_S: u64 = 86_400;

/// One certificate, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    file: String,
    /// Who it is for, or the CA's name.
    #[serde(rename = "for")]
    whose: String,
    names: Vec<String>,
    expires: String,
    days_left: i64,
    problems: Vec<String>,
}

/// Prints the certificates of the directory, and what is wrong with them.
pub fn run(config: &Config, certs: &CertFiles, json: bool) -> Result<(), CliError> {
    let mut lines = of_ca(certs);
    lines.extend(Kind::present(config, certs).iter().flat_map(|kind| of_kind(config, certs, kind)));
    if json {
        return output::json(&lines);
    }
    let head = ["FILE", "FOR", "EXPIRES", "DAYS LEFT", "NAMES"].map(str::to_owned).to_vec();
    let rows = lines.iter().map(|line| {
        let days = line.days_left.to_string();
        let (file, whose) = (line.file.clone(), line.whose.clone());
        vec![file, whose, line.expires.clone(), days, line.names.join(" ")]
    });
    let table: Vec<_> = std::iter::once(head).chain(rows).collect();
    let mut text = output::table(&table);
    for (line, problem) in
        lines.iter().flat_map(|line| line.problems.iter().map(move |p| (line, p)))
    {
        // Writing to a String cannot fail, here and below.
        let _ = write!(text, "\n{}: {problem}", line.file);
    }
    output::line(&text)
}

fn of_ca(certs: &CertFiles) -> Vec<Line> {
    let path = certs.cert(CA_STEM);
    read(&path, |name| name.common_name.clone().unwrap_or_else(|| name.subject.clone()))
}

fn of_kind(config: &Config, certs: &CertFiles, kind: &Kind) -> Vec<Line> {
    let path = certs.cert(kind.stem());
    let mut lines = read(&path, ranch_proto::tls::Certificate::whose);
    let expected = kind.identity(config).to_string();
    if let Some(line) = lines.first_mut().filter(|line| !line.expires.is_empty()) {
        if line.whose != expected {
            line.problems.push(format!("it is not for {expected}, as ranch.toml has it"));
        }
        line.problems.extend(key_problem(&certs.key(kind.stem())));
    }
    lines
}

fn key_problem(key: &Path) -> Option<String> {
    match fs::metadata(key) {
        Err(error) => Some(format!("no key beside it ({}): {error}", key.display())),
        Ok(about) if about.permissions().mode() & 0o077 != 0 => {
            Some(format!("{} can be read by others: chmod 600 it", key.display()))
        }
        Ok(_) => None,
    }
}

/// The certificates of a file; a line that says so where there are none to be read.
fn read(path: &Path, whose: impl Fn(&ranch_proto::tls::Certificate) -> String) -> Vec<Line> {
    let file = path.display().to_string();
    let fault = |problem: String| Line {
        file: file.clone(),
        whose: "-".to_owned(),
        names: Vec::new(),
        expires: String::new(),
        days_left: 0,
        problems: vec![problem],
    };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) => return vec![fault(error.to_string())],
    };
    let all = match certificates(path, &text) {
        Ok(all) => all,
        Err(error) => return vec![fault(error.to_string())],
    };
    let lines = all.iter().map(|certificate| {
        let left_s = certificate.not_after_s.cast_signed() - now_s().cast_signed();
        let time = certificate.check_time(path).err().map(|error| error.to_string());
        let near = left_s < EXPIRY_NEAR.as_secs().cast_signed();
        let near = near.then(|| "it expires soon: `ranch certs rotate`".to_owned());
        Line {
            file: file.clone(),
            whose: whose(certificate),
            names: certificate.names.clone(),
            expires: date(certificate.not_after_s),
            days_left: left_s.div_euclid(DAY_S.cast_signed()),
            problems: time.or(near).into_iter().collect(),
        }
    });
    lines.collect()
}

fn date(unix_s: u64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(unix_s.cast_signed());
    date.map_or_else(|_| "?".to_owned(), |time| time.date().to_string())
}

/// What to do with certificates that were made.
pub fn next_steps(config: &Config, certs: &CertFiles, kinds: &[Kind], new_ca: bool) -> String {
    let dir = certs.dir().display();
    let mut text = String::new();
    if kinds.is_empty() {
        let _ = writeln!(text, "{dir} has all certificates of the ranch already.");
    }
    for kind in kinds {
        let (stem, whose) = (kind.stem(), kind.identity(config));
        let to = match kind {
            Kind::Node(node) if node.addr.is_empty() => format!(
                "to the machine of {stem}; if it is not in the ranch yet, it joins with\n    ranch \
                 node join HOST:PORT --token … --addr ITS-HOST:PORT --name {stem} --tls-dir DIR"
            ),
            Kind::Node(node) => format!("to the machine of {stem} ({})", node.addr),
            Kind::Router => "to the machines of routers".to_owned(),
        };
        let _ = writeln!(text, "{whose}\n  copy ca.crt {stem}.crt {stem}.key of {dir} {to}");
    }
    if new_ca {
        let _ = writeln!(
            text,
            "\n{dir}/ca.key makes certificates: keep it where no machine of the ranch can read it, \
             with your passwords."
        );
    }
    if config.tls.dir.is_none() {
        let _ = writeln!(
            text,
            "\nSet `dir = \"{dir}\"` in [tls] of ranch.toml, where the files are on each machine."
        );
    }
    if !kinds.is_empty() {
        text.push_str("\nProcesses that run take new files up by themselves, within seconds.\n");
    }
    text
}

/// What to do after a new CA was made.
pub fn after_new_ca(certs: &CertFiles) -> String {
    format!(
        "{0}/ca.crt has the new CA and the old one; {0}/ca.key is the new one's.\n\
         1. Copy ca.crt to all machines, and wait some seconds.\n\
         2. `ranch certs rotate`, and copy to each machine what it says.\n\
         3. `ranch certs rotate --drop-old-ca`, and copy ca.crt to all machines.\n",
        certs.dir().display()
    )
}

/// What to do after older CAs were dropped.
pub fn after_drop(certs: &CertFiles) -> String {
    format!("{}/ca.crt has the newest CA alone. Copy it to all machines.\n", certs.dir().display())
}
