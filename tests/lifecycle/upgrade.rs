//! `ranch upgrade` under `ranch up`, and what becomes there of a node that leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use ranch_chaos::layout::{Layout, Place};
use ranch_chaos::process::{Process, Recipe};
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::reaper::Reaper;
use ranch_chaos::wait::until;
use ranch_chaos::{Client, Workload, check};
use serde_json::Value;

use crate::LIMIT;
use crate::support::{BINARY, p999, refusal, stdout};

/// A `ranch up` in a place of its own.
struct Home {
    place: Place,
    up: Process,
}

impl Home {
    async fn start(layout: &Layout) -> Self {
        let place = layout.place().unwrap();
        let mut args: Vec<PathBuf> = vec!["up".into(), "--config".into(), place.config.clone()];
        args.extend(["--data-dir".into(), place.dir.path().join("data")]);
        let recipe = Recipe {
            wrapper: Vec::new(),
            name: "up".to_owned(),
            program: BINARY.into(),
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            log: place.dir.path().join("up.log"),
        };
        let up = Process::new(recipe, Arc::new(Reaper::start().unwrap()));
        let mut home = Self { place, up };
        home.up.start().unwrap();
        home.ready(1).await;
        home
    }

    async fn ready(&mut self, nth: usize) {
        let said = async || {
            let said = self.up.log().matches("Ctrl-C stops it.").count();
            (said >= nth || !self.up.is_running()).then_some(said)
        };
        let said = until("`ranch up` to be ready", LIMIT, said).await;
        assert!(said.is_ok_and(|said| said >= nth), "{}", self.up.log());
    }

    fn data(&self) -> PathBuf {
        self.place.dir.path().join("data")
    }

    fn key(&self, file: &str) -> String {
        fs::read_to_string(self.data().join(file)).unwrap().trim().to_owned()
    }

    async fn cli(&self, args: &[&str]) -> Output {
        tokio::process::Command::new(BINARY)
            .args(args)
            .env("RANCH_URL", format!("http://{}", self.place.router))
            .env("RANCH_ADMIN_KEY", self.key("admin.key"))
            .arg("--data-dir")
            .arg(self.data())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap()
    }

    async fn account(&self) -> Option<Value> {
        let mut admin = Client::new(self.place.router, Some(&self.key("admin.key")))
            .with_limit(Duration::from_secs(5));
        let answer = admin.get("/api/v2/admin/cluster").await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Processes that run a program.
    fn running(program: &Path) -> usize {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let exe = |entry: fs::DirEntry| fs::read_link(entry.path().join("exe")).ok();
        processes.filter_map(exe).filter(|found| found == program).count()
    }
}

/// R1, R2, R3, R7: all processes of a `ranch up` are replaced by those of another program, one
/// after the other, and nobody notices.
#[tokio::test]
async fn an_upgrade_goes_through_all_processes_without_a_failed_request() {
    let mut home = Home::start(&Layout::default()).await;
    let key = home.key("demo.key");
    let program = home.place.dir.path().canonicalize().unwrap().join("ranch-new");
    fs::copy(BINARY, &program).unwrap();
    let workload = Workload { seed: 81, ..Workload::new(home.place.router, "demo", &key) };
    let running = workload.start();
    running.progress(50, LIMIT).await.expect("writes before anything is done");
    let binary = program.to_string_lossy().into_owned();
    let upgraded = stdout(&home.cli(&["upgrade", "--binary", &binary]).await);
    for line in
        ["node1: restarting", "node3: runs version", "(3 of 3)", "another one has taken over"]
    {
        assert!(upgraded.contains(line), "{upgraded}");
    }
    assert_eq!(Home::running(&program), 4, "three nodes and the router: {upgraded}");
    running.progress(50, LIMIT).await.expect("service goes on");
    assert_eq!(running.failed(), 0, "no request failed\n{upgraded}");
    let history = running.finish().await.expect("every scroll can be read in the end");
    let summary = check(&history).expect("the history is good");
    println!("{summary}; p99.9 {:?}", p999(&history));
    let account = home.account().await.unwrap();
    let serving = |node: &Value| node["duty"] == "serving";
    assert!(account["nodes"].as_array().unwrap().iter().all(serving), "{account:#}");
    assert!(home.up.stop(LIMIT).await.unwrap().success(), "{}", home.up.log());
}

/// R11: what cannot be upgraded to is refused before anything is touched, and what does not come
/// back stops the upgrade.
#[tokio::test]
async fn an_upgrade_to_something_else_is_refused_or_stops_at_the_first_node() {
    let home = Home::start(&Layout::default()).await;
    let dir = home.place.dir.path().canonicalize().unwrap();
    let before = home.account().await.unwrap()["nodes"].clone();
    let script = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let file = dir.join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file.to_string_lossy().into_owned()
    };
    let says = |formats: &str, protocols: &str| {
        format!(
            "if [ \"$1\" = versions ]; then echo '{{\"version\":\"9.9\",\"formats\":{formats},\
             \"protocols\":{protocols}}}'; exit 0; fi; echo 'ranch: it is broken' >&2; exit 1"
        )
    };
    let (both, one) = ("{\"min\":1,\"max\":2}", "{\"min\":1,\"max\":1}");
    let far = "{\"min\":7,\"max\":9}";
    for (binary, words) in [
        (dir.join("missing").to_string_lossy().into_owned(), "cannot be used"),
        (script("other", "echo hello"), "does not say which versions it can do"),
        (script("old", &says(one, one)), "is at cluster version 2, and version 9.9 can do 1"),
        (script("new", &says(both, far)), "speaks protocol 7 to 9 and node1 1 to 2"),
    ] {
        let refused = refusal(&home.cli(&["upgrade", "--binary", &binary]).await);
        assert!(refused.contains(words) && refused.contains("nothing was changed"), "{refused}");
    }
    assert_eq!(home.account().await.unwrap()["nodes"], before);

    let broken = script("broken", &says(both, one));
    let stopped = home.cli(&["upgrade", "--binary", &broken, "--wait-s", "5"]).await;
    let stopped = refusal(&stopped);
    for words in ["node1 is not back and well after 5 s", "0 of 3 nodes", "with the old binary"] {
        assert!(stopped.contains(words), "{stopped}");
    }
    let account = home.account().await.unwrap();
    let pids = |nodes: &Value| [nodes[1]["pid"].clone(), nodes[2]["pid"].clone()];
    assert_eq!(pids(&account["nodes"]), pids(&before), "the others were left alone");
    assert_eq!(account["nodes"][0]["state"], "down");
    let back = stdout(&home.cli(&["upgrade", "--binary", BINARY]).await);
    assert!(back.contains("3 nodes run version"), "{back}");
    let account = home.account().await.unwrap();
    let serving = |node: &Value| node["duty"] == "serving" && node["state"] == "up";
    assert!(account["nodes"].as_array().unwrap().iter().all(serving), "{account:#}");
}

/// A node that was removed is not started again, and does not keep the others from starting.
#[tokio::test]
async fn a_removed_node_is_left_alone_by_ranch_up() {
    let layout = Layout { nodes: 4, ..Layout::default() };
    let mut home = Home::start(&layout).await;
    stdout(&home.cli(&["node", "remove", "node4", "--wait"]).await);
    let words = "node4 has left the ranch and is not started again";
    let left = |times: usize| {
        let home = &home;
        async move || (home.up.log().matches(words).count() >= times).then_some(())
    };
    until("the node to be left alone", LIMIT, left(1)).await.unwrap();
    assert!(!home.up.log().contains("node4 ended"), "{}", home.up.log());
    assert!(home.up.stop(LIMIT).await.unwrap().success(), "{}", home.up.log());
    home.up.start().unwrap();
    home.ready(2).await;
    let left = async || (home.up.log().matches(words).count() >= 2).then_some(());
    until("the node to be left alone once more", LIMIT, left).await.unwrap();
    assert!(home.up.stop(LIMIT).await.unwrap().success(), "{}", home.up.log());
}

/// Nodes that a script starts and restarts, as a service manager would, and a router.
struct Services {
    place: Place,
    script: PathBuf,
    router: Process,
}

impl Services {
    async fn start(layout: &Layout) -> Self {
        let place = layout.place().unwrap();
        let (dir, config) = (place.dir.path(), &place.config);
        let text = format!(
            "cd {dir}; if [ -f $1.pid ]; then pid=$(cat $1.pid); kill $pid\n\
             while grep -s ^State /proc/$pid/status | grep -qv Z; do sleep 0.05; done; fi\n\
             RANCH_ADMIN_KEY={ADMIN_KEY} $(cat program) node --name $1 --config {config} \
             </dev/null >>$1.log 2>&1 &\necho $! >$1.pid\n",
            dir = dir.display(),
            config = config.display(),
        );
        let script = dir.join("restart.sh");
        fs::write(&script, text).unwrap();
        fs::write(dir.join("program"), BINARY).unwrap();
        let recipe = Recipe {
            wrapper: Vec::new(),
            name: "router".to_owned(),
            program: BINARY.into(),
            args: vec!["router".into(), "--config".into(), config.into()],
            env: Vec::new(),
            log: dir.join("router.log"),
        };
        let router = Process::new(recipe, Arc::new(Reaper::start().unwrap()));
        let mut services = Self { place, script, router };
        services.router.start().unwrap();
        for node in &services.place.nodes {
            let restart = services.restart().replace("{}", &node.name);
            let status = tokio::process::Command::new("sh").args(["-c", &restart]).status();
            assert!(status.await.unwrap().success());
        }
        let mut client = Client::new(services.place.router, None);
        let ready = async || {
            let answer = client.get("/health/ready").await.ok()?;
            (answer.status == 200).then_some(())
        };
        until("the ranch to be ready", LIMIT, ready).await.unwrap();
        services
    }

    /// The command that restarts a node.
    fn restart(&self) -> String {
        format!("sh {} {{}}", self.script.display())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for node in &self.place.nodes {
            let file = self.place.dir.path().join(format!("{}.pid", node.name));
            let Ok(pid) = fs::read_to_string(file) else { continue };
            // It may have ended by itself.
            let _ = std::process::Command::new("kill").args(["-9", pid.trim()]).status();
        }
    }
}

/// Where a service manager runs the nodes, a command restarts them.
#[tokio::test]
async fn a_command_restarts_nodes_that_no_ranch_up_runs() {
    let services = Services::start(&Layout::default()).await;
    let dir = services.place.dir.path().canonicalize().unwrap();
    let program = dir.join("ranch-new");
    fs::hard_link(BINARY, &program).or_else(|_| fs::copy(BINARY, &program).map(drop)).unwrap();
    fs::write(dir.join("program"), program.to_str().unwrap()).unwrap();
    let upgrade = |restart: String| {
        let mut command = tokio::process::Command::new(BINARY);
        command.args(["upgrade", "--data-dir", "none", "--binary"]).arg(&program);
        command.args(["--wait-s", "60", "--restart", &restart]).kill_on_drop(true);
        command.env("RANCH_URL", format!("http://{}", services.place.router));
        command.env("RANCH_ADMIN_KEY", ADMIN_KEY);
        async move { command.output().await.unwrap() }
    };
    let failed = refusal(&upgrade("echo {} is busy >&2; exit 7".to_owned()).await);
    assert!(failed.contains("node1 was not restarted") && failed.contains("status: 7"), "{failed}");
    assert_eq!(Home::running(&program), 0);
    let upgraded = stdout(&upgrade(services.restart()).await);
    assert!(upgraded.contains("3 nodes run version"), "{upgraded}");
    assert_eq!(Home::running(&program), 3, "{upgraded}");
    let mut admin = Client::new(services.place.router, Some(ADMIN_KEY));
    let answer = admin.get("/api/v2/admin/cluster").await.unwrap();
    let account: Value = serde_json::from_slice(&answer.body).unwrap();
    let serving = |node: &Value| node["duty"] == "serving" && node["state"] == "up";
    assert!(account["nodes"].as_array().unwrap().iter().all(serving), "{account:#}");
}
