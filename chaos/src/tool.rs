//! Command-line tools the harness uses where others would use system calls: each run to its end,
//! and what it complains about passed on.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

use crate::error::HarnessError;

/// Runs a tool and gives what it printed.
///
/// # Errors
/// When it is not installed, or ends with anything but success.
pub fn run(tool: &str, args: &[&str]) -> Result<String, HarnessError> {
    feed(tool, args, "")
}

/// As [`run`], with `input` on its standard input.
///
/// # Errors
/// As [`run`].
pub fn feed(tool: &str, args: &[&str], input: &str) -> Result<String, HarnessError> {
    let failed = |reason: String| HarnessError::Tool { tool: tool.to_owned(), reason };
    let path = std::env::var("PATH").unwrap_or_default();
    let spawned = Command::new(tool)
        .args(args)
        // Where tools of the administrator are, which not everybody's search path has.
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        ErrorKind::NotFound => failed("not installed; `scripts/deps chaos` installs it".to_owned()),
        _ => failed(error.to_string()),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why by itself.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{} ({})", said.trim(), args.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_prints_or_complains_about_is_passed_on() {
        assert_eq!(feed("cat", &[], "rain").unwrap(), "rain");
        let error = run("cat", &["/no/such/file"]).unwrap_err().to_string();
        assert!(error.contains("cat") && error.contains("/no/such/file"), "{error}");
        let error = run("ranch-no-such-tool", &[]).unwrap_err().to_string();
        assert!(error.contains("scripts/deps chaos"), "{error}");
    }
}
