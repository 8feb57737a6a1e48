//! The files of the checkout, and how long what is in them is.

use std::fs;
use std::path::Path;

/// Directories that hold no sources.
const NOT_SOURCES: [&str; 4] = ["target", ".git", "data", "node_modules"];

/// One file: its path from the checkout, and its text.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// All files whose extension, or name where they have none, is one of `kinds`.
pub fn files(kinds: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", kinds, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(dir: &Path, below: &str, kinds: &[&str], found: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).expect("the checkout can be read") {
        let entry = entry.expect("the checkout can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            if !NOT_SOURCES.contains(&name.as_str()) {
                walk(&entry.path(), &path, kinds, found);
            }
            continue;
        }
        let kind = name.rsplit('.').next().unwrap_or(&name);
        if kinds.contains(&kind)
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(Source { path, text });
        }
    }
}

impl Source {
    /// Lines of product code: neither blank, nor comments, nor tests.
    pub fn product_lines(&self) -> usize {
        let is_test = |part: &str| {
            matches!(part, "tests" | "tests.rs" | "test_support.rs" | "benches")
                || part.ends_with("_tests.rs")
        };
        if self.path.split('/').any(is_test) {
            return 0;
        }
        let product = self.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = product.lines().map(str::trim_start);
        lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
    }

    /// Every function with a body: its first line, its name and its number of lines.
    pub fn functions(&self) -> Vec<(usize, &str, usize)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut found = Vec::new();
        for (start, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = lines[start..].iter().position(|line| {
                line.strip_prefix(indent).is_some_and(|rest| {
                    rest == "}" || (rest.ends_with(';') && !rest.starts_with([' ', '}']))
                })
            });
            let one_line = line.ends_with('}') || line.ends_with(';');
            let length = if one_line { 1 } else { end.map_or(0, |end| end + 1) };
            found.push((start + 1, name, length));
        }
        found
    }
}

/// The name of the function that a line begins, if it does.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    loop {
        let (word, more) = rest.split_once(' ')?;
        match word {
            "fn" => return more.split(['(', '<']).next(),
            "const" | "async" | "unsafe" | "extern" => rest = more,
            word if word.starts_with("pub") => rest = more,
            _ => return None,
        }
    }
}

#[test]
fn functions_are_measured() {
    let source = Source {
        path: "x.rs".to_owned(),
        text: "\
pub(crate) async fn long<T>(
    a: u8,
) -> u8 {
    let nested = 1;
    nested
}

trait T {
    fn declared(
        &self,
    ) -> u8;
    fn short(&self) {}
    const fn two() -> u8 {
        0
    }
}
"
        .to_owned(),
    };
    let expected = [(1, "long", 6), (9, "declared", 3), (12, "short", 1), (13, "two", 3)];
    assert_eq!(source.functions(), expected);
}

#[test]
fn only_product_code_counts() {
    let source = |path: &str| Source {
        path: path.to_owned(),
        text: "//! Head.\n\nfn a() {}\n    // why\n#[cfg(test)]\nmod tests {\n}\n".to_owned(),
    };
    assert_eq!(source("src/a.rs").product_lines(), 1);
    assert_eq!(source("src/a/tests.rs").product_lines(), 0);
    assert_eq!(source("tests/api/main.rs").product_lines(), 0);
}
