//! `ranch up`: from nothing to a line that stores and reads a scroll; and again the next day.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ranch_chaos::layout::{Layout, Place, free_ports};
use ranch_chaos::process::{Process, Recipe};
use ranch_chaos::reaper::Reaper;
use ranch_chaos::wait::until;
use ranch_chaos::{Client, HarnessError};
use serde_json::Value;

use crate::support::{BINARY, assert_answer};

const LIMIT: Duration = Duration::from_mins(2);

/// `ranch up` with more arguments; not started yet.
fn up(place: &Place, more: &[&str]) -> Process {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let mut args = vec!["up".to_owned(), "--config".to_owned(), text(&place.config)];
    args.extend(["--data-dir".to_owned(), text(&place.dir.path().join("data"))]);
    args.extend(more.iter().map(|&word| word.to_owned()));
    let recipe = Recipe {
        wrapper: Vec::new(),
        name: "up".to_owned(),
        program: BINARY.into(),
        args: args.into_iter().map(Into::into).collect(),
        env: Vec::new(),
        log: place.dir.path().join("up.log"),
    };
    Process::new(recipe, Arc::new(Reaper::start().unwrap()))
}

/// Waits until `up` has said, for the `nth` time, that all is ready.
async fn ready(up: &mut Process, nth: usize) {
    let said = async || {
        let said = up.log().matches("Ctrl-C stops it.").count();
        (said >= nth || !up.is_running()).then_some(said)
    };
    let said = until("`ranch up` to be ready", LIMIT, said).await;
    assert!(said.is_ok_and(|said| said >= nth), "{}", up.log());
}

/// Runs the last curl line that was printed, as a person who pastes it would.
fn pasted(up: &Process) -> String {
    let log = up.log();
    let line = log.lines().rfind(|line| line.starts_with("curl ")).expect("a curl line");
    let output = Command::new("sh").args(["-c", line]).output().expect("sh runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{error}");
    String::from_utf8(output.stdout).expect("text")
}

fn status(place: &Place) -> Value {
    let output = Command::new(BINARY)
        .args(["status", "--json", "--url", &format!("http://{}", place.router), "--data-dir"])
        .arg(place.dir.path().join("data"))
        .output()
        .expect("the binary runs");
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

/// Waits until nobody listens where the ranch did.
async fn ports_free(place: &Place) -> Result<(), HarnessError> {
    let free = async || {
        let addrs = place.nodes.iter().map(|node| node.addr).chain([place.router]);
        addrs.map(TcpListener::bind).all(|bound| bound.is_ok()).then_some(())
    };
    until("the ports to be free", LIMIT, free).await
}

#[tokio::test]
async fn a_first_start_prints_a_line_that_works_and_a_second_one_keeps_everything() {
    let place = Layout::default().place().unwrap();
    let mut up = up(&place, &[]);
    up.start().unwrap();
    ready(&mut up, 1).await;
    assert!(pasted(&up).ends_with("Hello, ranch!\n"), "{}", pasted(&up));
    let key_file = place.dir.path().join("data/admin.key");
    let mode = key_file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner may read the admin key");

    let node_pid = || status(&place)["nodes"][1]["pid"].as_u64();
    let pid = node_pid().expect("the pid of a local node");
    let told = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let huge = told.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert!(huge.is_none_or(|enabled| enabled.trim() == "0"), "a node takes huge pages");

    // A node that dies is started again.
    Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    let replaced = async || node_pid().filter(|now| *now != pid);
    until("the node to be started again", LIMIT, replaced).await.unwrap();

    let stopped = up.stop(LIMIT).await.unwrap();
    assert!(stopped.success(), "{stopped}\n{}", up.log());
    ports_free(&place).await.unwrap();

    up.start().unwrap();
    ready(&mut up, 2).await;
    let scroll = || {
        let key = std::fs::read_to_string(place.dir.path().join("data/demo.key")).unwrap();
        let mut client = Client::new(place.router, Some(key.trim()));
        async move { client.get("/api/v2/read/1.1.1/1.1.1/1.1.1").await.unwrap() }
    };
    assert_answer(&scroll().await, 200, "Hello, ranch!");
    assert!(pasted(&up).ends_with("Hello, ranch!\n"));

    // Killed without warning, it takes its processes with it.
    up.kill().unwrap();
    ports_free(&place).await.unwrap();
}

#[tokio::test]
async fn what_is_given_on_the_command_line_is_used() {
    let place = Layout::default().place().unwrap();
    let listen = free_ports(1).unwrap()[0];
    let admin_key = "pmb-v1-00000000000000000000000000000abc";
    let tenants = place.dir.path().join("tenants.json");
    let of_will = "pmb-v1-will0123456789";
    std::fs::write(
        &tenants,
        format!(r#"{{"tenants": {{"{of_will}": {{"name": "will", "data_dir": "x/will"}}}}}}"#),
    )
    .unwrap();
    let tenants_file = tenants.to_string_lossy().into_owned();
    let listen_text = listen.to_string();
    let args = ["--listen", &listen_text, "--admin-key", admin_key, "--tenants", &tenants_file];
    let mut up = up(&place, &args);
    up.start().unwrap();
    ready(&mut up, 1).await;
    assert!(!up.log().contains(admin_key), "a key that was given is not printed");
    let mut admin = Client::new(listen, Some(admin_key));
    let tenants = admin.get("/api/v2/admin/tenants").await.unwrap().text();
    assert!(tenants.contains("\"will\"") && tenants.contains("\"demo\""), "{tenants}");
    let mut will = Client::new(listen, Some(of_will));
    assert_eq!(will.write("p", "1.1.1/1.1.1/1.1.1", "x").await.unwrap().status, 200);
    assert!(up.stop(LIMIT).await.unwrap().success(), "{}", up.log());
}

/// By TLS between processes and by HTTPS to clients, with certificates it asks for first.
#[tokio::test]
async fn a_ranch_that_is_protected() {
    let place = Layout { tls: true, ..Layout::default() }.place().unwrap();
    let certs = place.certs.clone().unwrap();
    let text = std::fs::read_to_string(&place.config).unwrap();
    let path = |name: &str| certs.join(name).to_string_lossy().into_owned();
    let (cert, key) = (path("router.crt"), path("router.key"));
    let https = format!("[router]\ntls_cert = {cert:?}\ntls_key = {key:?}\n");
    std::fs::write(&place.config, text.replacen("[router]\n", &https, 1)).unwrap();
    let mut up = up(&place, &[]);
    up.start().unwrap();
    assert!(!up.wait_exit(LIMIT).await.unwrap().success());
    let said = up.log();
    assert!(said.contains("there is no") && said.contains("`ranch certs init`"), "{said}");
    let made = Command::new(BINARY).args(["certs", "init", "--config"]).arg(&place.config).output();
    assert!(made.unwrap().status.success());
    up.start().unwrap();
    ready(&mut up, 1).await;
    assert!(up.log().contains("curl -sS --cacert"), "{}", up.log());
    assert!(pasted(&up).ends_with("Hello, ranch!\n"), "{}", pasted(&up));
    let log = std::fs::read_to_string(place.dir.path().join("data/router.log")).unwrap();
    assert!(log.contains("https"), "{log}");
    assert!(up.stop(LIMIT).await.unwrap().success(), "{}", up.log());
}
