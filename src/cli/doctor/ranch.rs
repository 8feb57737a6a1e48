//! What the ranch itself says is wrong: the problems and notes of `ranch status`.

use serde::Deserialize;

use super::finding::Finding;
use crate::cli::error::CliError;
use crate::cli::http::{Call, ClientError, Http};
use crate::cli::key_file;
use crate::cli::local::{ADMIN_KEY_FILE, Local};
use crate::cli::options::AdminArgs;

const CHECK: &str = "ranch";

/// The part of the answer that says what is wrong.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    problems: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
}

/// Asks a router.
pub async fn ask(args: &AdminArgs, local: &Local) -> Vec<Finding> {
    match said(args, local).await {
        Ok(Some(said)) => judge(&said),
        Ok(None) => {
            let says = "it was not asked: there is no admin key";
            let remedy = "give it with --admin-key or RANCH_ADMIN_KEY, or run this as a user that \
                          can read admin.key";
            vec![Finding::warning(CHECK, says, remedy)]
        }
        Err(error) => vec![unasked(&error)],
    }
}

fn judge(said: &Said) -> Vec<Finding> {
    if said.problems.is_empty() && said.notes.is_empty() {
        return vec![Finding::ok(CHECK, "it says that it has no problems")];
    }
    let remedy = "`ranch status` shows more; docs/operations.md says what it means";
    let problems = said.problems.iter().map(|says| Finding::problem(CHECK, says, remedy));
    let notes = said.notes.iter().map(|says| Finding::warning(CHECK, says, remedy));
    problems.chain(notes).collect()
}

/// No answer could be had.
fn unasked(error: &CliError) -> Finding {
    let says = format!("it was not asked: {error}");
    match error {
        // No router need run here; others may.
        CliError::Client(ClientError::Unreachable { .. }) => {
            let remedy = "start one with `systemctl start ranch-router`, or name another's address \
                          with --url";
            Finding::warning(CHECK, says, remedy)
        }
        _ => {
            Finding::problem(CHECK, says, "see that --url and --admin-key are those of this ranch")
        }
    }
}

async fn said(args: &AdminArgs, local: &Local) -> Result<Option<Said>, CliError> {
    let key = match &args.key.admin_key {
        Some(key) => Some(key.clone()),
        // A file that cannot be read was told already.
        None => key_file::read(&local.root.join(ADMIN_KEY_FILE)).unwrap_or(None),
    };
    let Some(key) = key else { return Ok(None) };
    let http = Http::new(&args.url.url, Some(&key))?;
    let mut call = Call::get("/api/v2/admin/cluster", "asking for the state of the ranch");
    call.headers.push(("accept", "application/json".to_owned()));
    Ok(Some(http.ask_json(&call).await?))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn problems_are_problems_and_notes_are_warnings() {
        assert_eq!(judge(&Said::default())[0].level, Level::Ok);
        let said = Said {
            problems: vec!["shard 2 has no leader".to_owned()],
            notes: vec!["node 3 came back".to_owned()],
        };
        let levels: Vec<_> = judge(&said).iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Problem, Level::Warning]);
    }

    #[test]
    fn a_router_that_is_not_there_is_no_problem_of_the_machine() {
        let client = |error: ClientError| unasked(&CliError::from(error)).level;
        let (url, reason) = ("http://h:1".to_owned(), "refused".to_owned());
        assert_eq!(client(ClientError::Unreachable { url, reason }), Level::Warning);
        assert_eq!(client(ClientError::NoKey), Level::Problem);
    }
}
