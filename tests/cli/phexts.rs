//! Phexts in and out: what is exported is byte for byte what was imported.

use std::fmt::Write as _;

use crate::support::{cli, ranch_with, refusal, stdout};

type Coordinate = [u32; 9];

/// Delimiters from the widest break (library) to the narrowest (scroll).
const BREAKS: [char; 9] =
    ['\u{1}', '\u{1f}', '\u{1e}', '\u{1d}', '\u{1c}', '\u{1a}', '\u{19}', '\u{18}', '\u{17}'];
/// Bytes of a phext as people have them: 4.25 MB.
const PHEXT_BYTES: usize = 17 << 18;

/// Phext text of scrolls in the order of their coordinates, written down from the definition: each
/// step in a dimension is its delimiter, and puts all narrower dimensions back to 1.
fn phext_text(scrolls: &[(Coordinate, String)]) -> String {
    let mut text = String::new();
    let mut at = [1; 9];
    for (to, scroll) in scrolls {
        for dimension in 0..9 {
            for _ in at[dimension]..to[dimension] {
                text.push(BREAKS[dimension]);
                at[dimension] += 1;
                at[dimension + 1..].fill(1);
            }
        }
        text.push_str(scroll);
    }
    text
}

/// A phext of 4.25 MB: the coordinates people use, and many between them, with texts of many
/// lengths in several scripts.
fn large_phext() -> String {
    let mut coordinates = vec![
        [1, 1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1, 2],
        [7, 11, 13, 3, 8, 5, 1, 12, 1],
        [13; 9],
    ];
    for n in 0..1_500 {
        coordinates.push([2, 1 + n / 300, 1, 1, 1 + n / 20 % 15, 1, 1, 1 + n % 20, 1]);
    }
    coordinates.sort_unstable();
    let mut rng = fastrand::Rng::with_seed(6);
    let words = ["Ranch ", "Weide ", "牧場 ", "ранчо\n", "🐎 ", "grass\t", "\r\n", "  "];
    let each = PHEXT_BYTES / coordinates.len();
    let mut scrolls: Vec<(Coordinate, String)> = Vec::new();
    for coordinate in coordinates {
        let mut text = format!("{coordinate:?} ");
        let length = rng.usize(1..2 * each);
        while text.len() < length {
            text.push_str(words[rng.usize(..words.len())]);
        }
        scrolls.push((coordinate, text));
    }
    // The last one is whatever is missing.
    let missing = PHEXT_BYTES.saturating_sub(phext_text(&scrolls).len());
    let last = scrolls.last_mut().expect("there are scrolls");
    last.1.push_str(&"x".repeat(missing));
    phext_text(&scrolls)
}

#[tokio::test]
async fn a_large_phext_comes_out_as_it_went_in() {
    let (ranch, key) = ranch_with("will").await;
    let text = large_phext();
    assert!(text.len() >= PHEXT_BYTES, "{}", text.len());
    let (file, back) = (ranch.dir().join("in.phext"), ranch.dir().join("out.phext"));
    std::fs::write(&file, &text).unwrap();
    let name = ["--phext", "large"];
    let import = ["import", file.to_str().unwrap()];
    stdout(&cli(&ranch, &key, import.iter().chain(&name)).await);
    let export = ["export", back.to_str().unwrap()];
    stdout(&cli(&ranch, &key, export.iter().chain(&name)).await);
    assert!(std::fs::read(&back).unwrap() == text.as_bytes(), "the export differs");
    let printed = cli(&ranch, &key, ["export"].iter().chain(&name)).await;
    assert!(printed.stdout == text.as_bytes(), "the export to standard output differs");

    // A second import changes nothing.
    stdout(&cli(&ranch, &key, import.iter().chain(&name)).await);
    let mut client = ranch.client(Some(&key));
    let got = client.get("/api/v2/get?p=large").await.unwrap();
    assert!(got.body == text.as_bytes(), "`get` differs");
    for (at, start) in [
        ("1.1.1/1.1.1/1.1.2", "[1, 1, 1, 1, 1, 1, 1, 1, 2]"),
        ("7.11.13/3.8.5/1.12.1", "[7, 11, 13, 3, 8, 5, 1, 12, 1]"),
        ("13.13.13/13.13.13/13.13.13", "[13, 13, 13, 13, 13, 13, 13, 13, 13]"),
    ] {
        let scroll = client.select("large", at).await.unwrap().text();
        assert!(scroll.starts_with(start), "{at}: {}", &scroll[..40]);
    }
}

#[tokio::test]
async fn a_directory_of_phexts_goes_in_and_what_is_none_does_not() {
    let (ranch, key) = ranch_with("will").await;
    let dir = ranch.dir().join("phexts");
    std::fs::create_dir(&dir).unwrap();
    let mut expected = Vec::new();
    for name in ["a", "b"] {
        let mut text = String::new();
        write!(text, "{name} one\u{17}{name} two\u{1}{name} three").unwrap();
        std::fs::write(dir.join(format!("{name}.phext")), &text).unwrap();
        expected.push((name, text));
    }
    stdout(&cli(&ranch, &key, ["import", dir.to_str().unwrap()]).await);
    for (name, text) in &expected {
        let exported = stdout(&cli(&ranch, &key, ["export", "--phext", name]).await);
        assert_eq!(&exported, text);
    }

    let bad = dir.join("c.phext");
    std::fs::write(&bad, b"fine\x17not \xff UTF-8").unwrap();
    let error = refusal(&cli(&ranch, &key, ["import", bad.to_str().unwrap()]).await);
    assert!(error.contains("c.phext") && error.contains("UTF-8"), "{error}");
    assert_eq!(stdout(&cli(&ranch, &key, ["list"]).await), "");
    let missing = refusal(&cli(&ranch, &key, ["import", "no-such.phext"]).await);
    assert!(missing.contains("no-such.phext"), "{missing}");
}

#[test]
fn the_text_is_written_as_libphext_would() {
    let scrolls = [
        ([1, 1, 1, 1, 1, 1, 1, 1, 2], "two".to_owned()),
        ([1, 1, 1, 1, 1, 1, 1, 2, 1], "section".to_owned()),
        ([2, 1, 1, 1, 1, 1, 1, 1, 3], "library".to_owned()),
    ];
    assert_eq!(phext_text(&scrolls), "\u{17}two\u{18}section\u{1}\u{17}\u{17}library");
}
