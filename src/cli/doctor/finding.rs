//! What was found: one line a check, with the remedy where there is something to mend.

use std::fmt::Write as _;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warning,
    /// It does not work, or will not for long.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, such as `clock`.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub says: String,
    /// What to do; absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, says: says.into(), remedy: None }
    }

    /// It works, but `remedy` is advised.
    pub fn warning(
        check: &'static str,
        says: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, level: Level::Warning, says: says.into(), remedy: Some(remedy.into()) }
    }

    /// It does not work until `remedy` is done.
    pub fn problem(
        check: &'static str,
        says: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, level: Level::Problem, says: says.into(), remedy: Some(remedy.into()) }
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In the order of looking.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many problems there are.
    pub fn problems(&self) -> usize {
        self.count(Level::Problem)
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// A line each, remedies below, and a count.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let wide = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for Finding { check, level, says, remedy } in &self.findings {
            let level = match level {
                Level::Ok => "ok     ",
                Level::Warning => "warning",
                Level::Problem => "PROBLEM",
            };
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{level}  {check:<wide$}  {says}");
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "{:>9}{:<wide$}  -> {remedy}", "", "");
            }
        }
        let counted = |level, word| match self.count(level) {
            1 => format!("1 {word}"),
            count => format!("{count} {word}s"),
        };
        let (problems, warnings) =
            (counted(Level::Problem, "problem"), counted(Level::Warning, "warning"));
        let _ = writeln!(text, "\n{problems}, {warnings}");
        text
    }
}

/// A time as people read it.
pub fn ms(time: std::time::Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_line_each_and_remedies_below() {
        let findings = vec![
            Finding::ok("disk", "40 GiB free"),
            Finding::problem("clock", "it is an hour late", "set it"),
            Finding::warning("memory", "little is left", "close something"),
        ];
        let text = Report { findings }.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ok       disk    40 GiB free");
        assert_eq!(lines[1], "PROBLEM  clock   it is an hour late");
        assert_eq!(lines[2], "                 -> set it");
        assert_eq!(lines.last(), Some(&"1 problem, 1 warning"));
    }

    #[test]
    fn scripts_find_levels_and_remedies() {
        let findings = vec![Finding::ok("a", "b"), Finding::warning("c", "d", "e")];
        let json = serde_json::to_value(Report { findings }).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"findings": [
                {"check": "a", "level": "ok", "says": "b"},
                {"check": "c", "level": "warning", "says": "d", "remedy": "e"},
            ]})
        );
    }
}
