//! What a command says: results on standard output, remarks on standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::error::CliError;

/// Prints bytes as they are.
pub fn raw(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|source| CliError::Output { source })
}

/// Prints a text, and a line break unless it ends with one.
pub fn line(text: &str) -> Result<(), CliError> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    raw(format!("{text}{end}").as_bytes())
}

/// Prints a scroll: exactly, but for a line break where a person would miss it.
pub fn scroll(text: &[u8]) -> Result<(), CliError> {
    raw(text)?;
    let odd_end = !text.is_empty() && !text.ends_with(b"\n");
    if odd_end && io::stdout().is_terminal() { raw(b"\n") } else { Ok(()) }
}

/// Prints a value as JSON for machines.
pub fn json<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    written(serde_json::to_string_pretty(value))
}

/// Prints a value as one line of JSON, of several that follow one another.
pub fn json_line<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    written(serde_json::to_string(value))
}

fn written(text: serde_json::Result<String>) -> Result<(), CliError> {
    line(&text.map_err(|error| CliError::Output { source: io::Error::from(error) })?)
}

/// A remark on standard error. That it cannot be made is no reason to fail.
pub fn notice(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Columns, each as wide as its widest cell, parted by two blanks.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a text cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A bar over `total` steps; invisible unless standard error is a terminal.
pub fn progress(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{prefix} {wide_bar} {human_pos}/{human_len} ({per_sec}, {eta} left)";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}

/// A bar over `total` bytes; invisible unless standard error is a terminal.
pub fn progress_bytes(total: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = concat!(
        "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} ",
        "({binary_bytes_per_sec}, {eta} left)"
    );
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}

/// A turning sign with a text; invisible unless standard error is a terminal.
pub fn spinner(text: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(text);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Bytes as people read them, with binary units.
pub fn human_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["id", "name"]), row(["1", "nöde"]), row(["10", ""])]);
        assert_eq!(text, "id  name\n1   nöde\n10\n");
        assert_eq!(table(&[]), "");
    }
}
