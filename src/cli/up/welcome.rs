//! What `ranch up` says when the ranch is ready: where it is, whose keys are where, and a line to
//! paste. Makes the tenant `demo` on the first start.

use std::path::Path;
use std::time::{Duration, Instant};

use ranch_proto::api_key::Secret;

use super::super::api::{self, NewTenant};
use super::super::error::CliError;
use super::super::http::{ClientError, Http};
use super::super::{key_file, output};
use super::plan::Plan;

/// The tenant made on the first start.
const DEMO: &str = "demo";
/// Longest wait for the ranch to know the admin key, and between two attempts.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);
/// The scroll of the line to paste.
const DEMO_SCROLL: &str = "1.1.1/1.1.1/1.1.1";

/// The demo tenant as this start left it.
enum Demo {
    /// Made just now.
    Made(Secret),
    /// Made by an earlier start.
    Kept(Secret),
    /// Its key is not to be had here, for this reason.
    Unknown(String),
}

/// Makes the demo tenant if it is missing and prints how to begin.
pub async fn say(plan: &Plan, http: &Http) -> Result<(), CliError> {
    let demo = demo(plan, http).await?;
    output::line(&text(plan, &demo))
}

async fn demo(plan: &Plan, http: &Http) -> Result<Demo, CliError> {
    let file = plan.demo_key_file();
    if let Some(key) = key_file::read(&file)? {
        return Ok(Demo::Kept(key));
    }
    // Kept aside until the tenant exists, so that a crash in between loses no key.
    let aside = file.with_extension("key.new");
    let key = key_file::read_or_make(&aside)?;
    let tenant = NewTenant {
        tenant_id: DEMO.to_owned(),
        key: Some(key.expose().to_owned()),
        ..NewTenant::default()
    };
    match add_patiently(http, &tenant).await {
        Ok(_) => {
            key_file::rename(&aside, &file)?;
            Ok(Demo::Made(key))
        }
        Err(ClientError::Refused { status, .. }) if status.as_u16() == 409 => {
            adopt(plan, &aside, key).await
        }
        Err(ClientError::Refused { status, .. }) if matches!(status.as_u16(), 401 | 403) => {
            Ok(Demo::Unknown(
                "no demo tenant was made, because the ranch does not know this machine's admin \
                 key yet: use that of the machine it was begun on"
                    .to_owned(),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// Adds a tenant. A key that is new to a ranch is known there a little later, and a ranch that
/// has just come up may be busy with itself.
async fn add_patiently(http: &Http, tenant: &NewTenant) -> Result<serde_json::Value, ClientError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match api::add_tenant(http, tenant).await {
            Err(error) if Instant::now() < give_up && may_pass(&error) => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

fn may_pass(error: &ClientError) -> bool {
    let is_key = |status: u16| matches!(status, 401 | 403);
    error.is_passing()
        || matches!(error, ClientError::Refused { status, .. } if is_key(status.as_u16()))
}

/// The tenant exists already: perhaps an earlier start made it with this very key and ended
/// before it could say so.
async fn adopt(plan: &Plan, aside: &std::path::Path, key: Secret) -> Result<Demo, CliError> {
    let http = Http::new(&plan.url(), &plan.trust(), Some(&key))?;
    let mine = http.ask_whole(&super::Call::get("/api/v2/version", "trying the demo key")).await;
    if mine.is_ok() {
        let file = plan.demo_key_file();
        key_file::rename(aside, &file)?;
        return Ok(Demo::Made(key));
    }
    std::fs::remove_file(aside).map_err(CliError::file("remove", aside))?;
    Ok(Demo::Unknown("the tenant demo exists, but its key is not in this directory".to_owned()))
}

fn text(plan: &Plan, demo: &Demo) -> String {
    let url = plan.url();
    let admin = if plan.key_was_given() {
        "the one given".to_owned()
    } else {
        format!("in {}", plan.admin_key_file().display())
    };
    let logs = plan.root().display();
    let head = format!(
        "The ranch is ready at {url} ({}).\n\
         admin key  {admin}\n\
         logs       {logs}/*.log\n",
        plan.describe()
    );
    let key_file = plan.demo_key_file();
    let tail = match demo {
        Demo::Made(key) => format!(
            "demo key   {} (also in {})\n\nTry it:\n{}\n",
            key.expose(),
            key_file.display(),
            curl(&url, plan.https_cert(), key)
        ),
        Demo::Kept(key) => {
            format!(
                "demo key   in {}\n\nTry it:\n{}\n",
                key_file.display(),
                curl(&url, plan.https_cert(), key)
            )
        }
        Demo::Unknown(why) => format!("demo key   {why}\n"),
    };
    format!("{head}{tail}\nCtrl-C stops it.\n")
}

/// A line for any POSIX shell that stores a scroll and reads it back.
fn curl(url: &str, cert: Option<&Path>, key: &Secret) -> String {
    let header = quoted(&format!("Authorization: Bearer {}", key.expose()));
    let at = |verb: &str| quoted(&format!("{url}/api/v2/{verb}/{DEMO_SCROLL}"));
    let cert = cert.map(|cert| format!(" --cacert {}", quoted(&cert.to_string_lossy())));
    let cert = cert.unwrap_or_default();
    let with =
        |more: &str, verb: &str| format!("curl -sS{cert} -w '\\n' -H {header}{more} {}", at(verb));
    format!("{} && {}", with(" -d 'Hello, ranch!'", "write"), with("", "read"))
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_survives_a_shell() {
        let line = curl("http://127.0.0.1:1337", None, &Secret::new("it's"));
        assert_eq!(
            line,
            r"curl -sS -w '\n' -H 'Authorization: Bearer it'\''s' -d 'Hello, ranch!' \
              'http://127.0.0.1:1337/api/v2/write/1.1.1/1.1.1/1.1.1' && \
              curl -sS -w '\n' -H 'Authorization: Bearer it'\''s' \
              'http://127.0.0.1:1337/api/v2/read/1.1.1/1.1.1/1.1.1'"
                .replace("\\\n              ", "")
        );
        // The shell sees the words that were meant.
        let script = format!("curl() {{ printf '[%s]' \"$@\"; }}; {line}");
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        assert!(words.contains("[Authorization: Bearer it's]"), "{words}");
        assert!(words.contains("[Hello, ranch!]"), "{words}");
        assert!(words.contains("[http://127.0.0.1:1337/api/v2/read/1.1.1/1.1.1/1.1.1]"), "{words}");
    }
}
