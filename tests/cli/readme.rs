//! The examples of the README do what they say.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{cli, ranch_with, stdout};

/// The lines of the README's shell examples that begin with `word`.
fn examples(word: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(readme).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter(|line| line.starts_with(word));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_curl_line_answers_what_its_comment_says() {
    let (ranch, key) = ranch_with("demo").await;
    let lines = examples("curl ");
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let (command, expected) = line.rsplit_once(" # ").expect("a comment with the answer");
        let output = Command::new("sh")
            .args(["-c", command])
            .env("KEY", &key)
            .env("at", format!("{}/api/v2", ranch.url()))
            .current_dir(ranch.dir())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        if command.contains('>') {
            let text = fs::read_to_string(ranch.dir().join("journal.phext")).unwrap();
            assert_eq!(text, "Hello", "{line}");
        } else {
            assert_eq!(said.trim_end(), expected.trim(), "{line}");
        }
    }
}

#[tokio::test]
async fn every_ranch_line_succeeds() {
    let (ranch, key) = ranch_with("demo").await;
    let file = ranch.dir().join("journal.phext");
    fs::write(&file, "Hello\u{17}again").unwrap();
    let installation = ranch.dir().join("tenants.json");
    let tenants = r#"{"tenants":[{"id":"ann","api_key":"key-of-sixteen-and-more"}]}"#;
    fs::write(&installation, tenants).unwrap();
    fs::create_dir(ranch.dir().join("ann")).unwrap();
    fs::write(ranch.dir().join("ann/index.phext"), "moved").unwrap();
    let lines = examples("ranch ");
    assert!(lines.len() >= 6, "{lines:?}");
    for line in lines {
        let command = line.split(" # ").next().unwrap_or_default();
        let words = command.trim().split_once(' ').map_or("", |(_, rest)| rest);
        let words = words
            .replace("tenants.json", &installation.to_string_lossy())
            .replace("journal.phext", &file.to_string_lossy())
            .replace("copy.phext", &ranch.dir().join("copy.phext").to_string_lossy());
        let script = format!("for word in {words}; do printf '%s\\n' \"$word\"; done");
        let split = Command::new("sh").args(["-fc", &script]).output().unwrap();
        let args: Vec<_> =
            String::from_utf8(split.stdout).unwrap().lines().map(str::to_owned).collect();
        stdout(&cli(&ranch, &key, &args).await);
    }
    assert_eq!(fs::read(ranch.dir().join("copy.phext")).unwrap(), fs::read(&file).unwrap());
}
