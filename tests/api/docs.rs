//! What the API reference shows is what a ranch answers.

use std::fs;
use std::path::Path;
use std::process::Command;

use ranch_chaos::ranch::ADMIN_KEY;

use crate::support::ranch_with;

/// The `curl` lines of the reference, each with the answer it promises.
fn examples() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter(|line| line.starts_with("curl "));
    lines
        .map(|line| {
            let (command, answer) = line.rsplit_once(" #").unwrap_or_else(|| panic!("{line}"));
            (command.to_owned(), answer.trim().replace(" ⏎ ", "\n"))
        })
        .collect()
}

/// Whether a text is what is promised, where `…` stands for anything.
fn fits(said: &str, promised: &str) -> bool {
    let mut parts = promised.split('…');
    let Some(mut rest) = said.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = "";
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = part;
    }
    // After the last `…` nothing but its part may follow.
    if promised.contains('…') { said.ends_with(last) } else { rest.is_empty() }
}

#[tokio::test]
async fn every_curl_line_of_the_reference_answers_what_it_says() {
    let (ranch, key) = ranch_with("demo").await;
    let examples = examples();
    assert!(examples.len() > 40, "{}", examples.len());
    for (command, promised) in examples {
        let output = Command::new("sh")
            .args(["-c", &command])
            .env("at", format!("{}/api/v2", ranch.url()))
            .env("auth", format!("Authorization: Bearer {key}"))
            .env("admin", format!("Authorization: Bearer {ADMIN_KEY}"))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            fits(said.trim_end(), &promised),
            "{command}\nsaid:     {said}\npromised: {promised}"
        );
    }
}
