//! A world of its own: that it is there, and that nothing of it is left however the harness ends.
//!
//! The ranch in it is a program that does nothing, so the harness waits for it with everything in
//! place. Where the kernel grants no namespaces there is nothing to test, and the harness must
//! say so.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ranch_chaos::World;
use ranch_chaos::wait::until;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const LIMIT: Duration = Duration::from_secs(20);
const SCENARIO: &str = r#"
name = "idle"
why = "Nothing in it answers."
promises = ["R1"]
minutes = 1

[ranch]
topology = "namespaces"
disk_mib = 32

[[fault]]
kind = "kill"
target = "any"
hold_ms = [1, 1]
pause_ms = [1, 1]
"#;

/// A harness that waits for a ranch that never answers.
struct Waiting {
    harness: Child,
    dir: tempfile::TempDir,
}

impl Waiting {
    fn start() -> Self {
        let dir = ranch_chaos::layout::scratch_dir().unwrap();
        let ranch = dir.path().join("idle-ranch");
        fs::write(&ranch, "#!/bin/sh\nexec sleep 600\n").unwrap();
        fs::set_permissions(&ranch, fs::Permissions::from_mode(0o755)).unwrap();
        let scenario = dir.path().join("idle.toml");
        fs::write(&scenario, SCENARIO).unwrap();
        let harness = Command::new(env!("CARGO_BIN_EXE_ranch-chaos"))
            .args(["run".as_ref(), scenario.as_os_str()])
            .args(["--binary".as_ref(), ranch.as_os_str()])
            .env("TMPDIR", dir.path())
            .process_group(0)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { harness, dir }
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    /// Its processes but the first: those started in its directory, or with a word of it.
    fn processes(&self) -> BTreeSet<i32> {
        let ours = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            [environment, words].iter().any(|text| {
                text.windows(self.path().len()).any(|part| part == self.path().as_bytes())
            })
        };
        let harness = i32::try_from(self.harness.id()).unwrap();
        pids().filter(|pid| *pid != harness).filter(ours).collect()
    }

    /// Loop devices on a file in its directory.
    fn loops(&self) -> Vec<PathBuf> {
        let devices = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
        let ours = |device: &PathBuf| {
            let backing = fs::read_to_string(device.join("loop/backing_file"));
            backing.is_ok_and(|file| file.contains(self.path()))
        };
        devices.filter(ours).collect()
    }

    /// Processes that see a mount in its directory.
    fn mounted(&self) -> Vec<i32> {
        let sees = |pid: &i32| {
            let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"));
            mounts.is_ok_and(|mounts| mounts.contains(self.path()))
        };
        pids().filter(sees).collect()
    }

    /// Freezes the first node's disk and has a process write to it, which nobody can kill then.
    async fn stalls_a_disk(&self) {
        let (sees, mount) = self.mounted().into_iter().find_map(|pid| self.disk(pid)).unwrap();
        let write = format!("fsfreeze --freeze {mount} && echo more > {mount}/more");
        let pid = sees.to_string();
        let mut writer = Command::new("nsenter")
            .args(["--target", &pid, "--mount", "--pid", "sh", "-c", &write])
            .spawn()
            .unwrap();
        let stuck = async || {
            let state = |pid: i32| fs::read_to_string(format!("/proc/{pid}/stat"));
            let is_stuck = |pid| state(pid).is_ok_and(|stat| stat.contains(") D "));
            self.processes().into_iter().any(is_stuck).then_some(())
        };
        until("a write that cannot go on", LIMIT, stuck).await.unwrap();
        // It ends with what it started in there, whatever becomes of this test.
        std::thread::spawn(move || writer.wait());
    }

    /// A disk of a node that this process sees.
    fn disk(&self, pid: i32) -> Option<(i32, String)> {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
        let place = |line: &str| line.split(' ').nth(4).map(str::to_owned);
        let ours = |mount: &String| mount.starts_with(self.path()) && mount.ends_with("disk1");
        mounts.lines().filter_map(place).find(ours).map(|mount| (pid, mount))
    }

    /// The harness inside the world.
    fn inside(&self) -> Pid {
        let is_harness = |pid: &i32| {
            let program = fs::read_link(format!("/proc/{pid}/exe"));
            program.is_ok_and(|program| program.ends_with("ranch-chaos"))
        };
        self.processes().into_iter().find(is_harness).and_then(Pid::from_raw).unwrap()
    }

    /// The network namespaces its processes are in, but for this test's own.
    fn networks(&self) -> BTreeSet<PathBuf> {
        let of = |pid: &i32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        self.processes().iter().filter_map(of).filter(|network| *network != own).collect()
    }

    /// Waits until all four processes of the ranch run, each in a network of its own.
    async fn is_up(&self) {
        // Three nodes, the router, and the clients.
        let up = async || (self.networks().len() == 5).then_some(());
        until("a ranch in five networks", LIMIT, up).await.unwrap();
    }

    async fn is_gone(&self) {
        until("the end of all its processes", LIMIT, async || {
            self.processes().is_empty().then_some(())
        })
        .await
        .unwrap();
        until("its loop devices to go", LIMIT, async || self.loops().is_empty().then_some(()))
            .await
            .unwrap();
        assert!(self.mounted().is_empty());
        let kept = |name: &str| name.starts_with("idle");
        let left = || {
            let names = fs::read_dir(self.path()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !kept(name)).collect::<Vec<_>>()
        };
        until("its directory to go", LIMIT, async || left().is_empty().then_some(()))
            .await
            .unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.harness.kill();
        let _ = self.harness.wait();
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.parse().ok())
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Whether the kernel grants a world; says so when it does not.
fn granted() -> Option<World> {
    let world = World::granted();
    if let Err(error) = &world {
        assert!(error.to_string().contains("namespaces"), "{error}");
        eprintln!("not tested here: {error}");
    }
    world.ok()
}

#[tokio::test]
async fn nothing_is_left_of_a_harness_that_was_killed() {
    let Some(world) = granted() else { return };
    let mut waiting = Waiting::start();
    waiting.is_up().await;
    assert_eq!(waiting.loops().len(), if world == World::Root { 3 } else { 0 });
    kill_process(pid(&waiting.harness), Signal::KILL).unwrap();
    waiting.harness.wait().unwrap();
    waiting.is_gone().await;
}

/// What writes to a frozen disk cannot be killed, and keeps its world until somebody thaws it.
#[tokio::test]
async fn nothing_is_left_of_a_harness_that_was_killed_while_a_disk_stalled() {
    if granted() != Some(World::Root) {
        return;
    }
    let victims: [fn(&Waiting) -> Pid; 2] = [|waiting| pid(&waiting.harness), Waiting::inside];
    for victim in victims {
        let mut waiting = Waiting::start();
        waiting.is_up().await;
        waiting.stalls_a_disk().await;
        kill_process(victim(&waiting), Signal::KILL).unwrap();
        let ended = async || waiting.harness.try_wait().unwrap();
        until("the harness to end", LIMIT, ended).await.unwrap();
        waiting.is_gone().await;
    }
}

#[tokio::test]
async fn ctrl_c_ends_it_in_order() {
    if granted().is_none() {
        return;
    }
    let mut waiting = Waiting::start();
    waiting.is_up().await;
    // A terminal sends it to all of the group.
    kill_process_group(pid(&waiting.harness), Signal::INT).unwrap();
    let ended = async || waiting.harness.try_wait().unwrap();
    let status = until("the harness to end", LIMIT, ended).await.unwrap();
    assert_eq!(status.code(), Some(2));
    let said = std::io::read_to_string(waiting.harness.stderr.take().unwrap()).unwrap();
    assert!(said.contains("interrupted"), "{said}");
    waiting.is_gone().await;
}

#[test]
fn a_fault_of_the_network_asks_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    let scenario = SCENARIO.replace("namespaces", "processes").replace("\"kill\"", "\"loss\"");
    fs::write(&path, scenario).unwrap();
    let output = ranch_chaos(&path);
    assert!(output.contains("topology = \"namespaces\""), "{output}");
}

fn ranch_chaos(scenario: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ranch-chaos"));
    let output = command.arg("run").arg(scenario).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}
