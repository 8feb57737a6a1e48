//! `docs/deploy.md`, followed word by word on five machines: its blocks of commands are run in its
//! order, each on the machine that heads it, and must print what it says. What stands in for a
//! real machine's ssh and systemd is in `stand-ins/`, two short scripts.
//!
//! The machines are namespaces, which only root can make as they are needed here (users of their
//! own, mounts); elsewhere the test says that it was not run.

// In a test, what cannot be is a failure like any other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod document;
mod machines;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use document::Block;
use machines::Machines;
use serde_json::Value;

/// Set for the process that is in the world, to the directory it may use.
const INSIDE: &str = "RANCH_TEST_DEPLOY";

#[test]
fn the_document_leads_from_nothing_to_a_ranch_that_is_well() {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return follow(Path::new(&dir));
    }
    let dir = ranch_chaos::layout::scratch_dir().unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested here: it takes root to make machines");
        return;
    }
    let name = "the_document_leads_from_nothing_to_a_ranch_that_is_well";
    // A shell is the first process in there, since it takes care of orphans.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"])
        .args(["--mount-proc", "sh", "-c", "\"$@\"; exit $?", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(INSIDE, dir.path())
        .status()
        .unwrap();
    assert!(status.success(), "in its world it failed: {status}");
}

fn follow(dir: &Path) {
    let machines = Machines::build(dir);
    let blocks = document::blocks();
    assert!(blocks.len() >= 14, "{}", blocks.len());
    for block in &blocks {
        for machine in &block.machines {
            let began = Instant::now();
            carry_out(&machines, machine, block);
            println!("{:6.1} s on {machine}", began.elapsed().as_secs_f64());
        }
    }
    shares_are_fair(&machines);
    doctors_are_content(&machines);
    alerts_name_metrics(&machines);
    units_are_sound(&machines);
    a_node_that_has_left_is_not_started_again(&machines);
}

/// Runs a block, which must succeed and print what it says, in that order.
fn carry_out(machines: &Machines, machine: &str, block: &Block) {
    let output = machines.run(machine, &block.script);
    let said = said(machines, &output, &format!("on {machine}:\n{}", block.script));
    let mut rest = said.as_str();
    for promised in &block.says {
        let at = rest.find(promised.as_str());
        let at = at.unwrap_or_else(|| panic!("{machine} does not say {promised}:\n{said}"));
        rest = &rest[at + promised.len()..];
    }
}

/// The standard output of what must have succeeded.
fn said(machines: &Machines, output: &Output, what: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    let logs = || machines.logs();
    assert!(output.status.success(), "{what}\n{}\n{out}\n{error}\n{}", output.status, logs());
    out
}

fn ask(machines: &Machines, machine: &str, command: &str) -> String {
    said(machines, &machines.run(machine, command), command)
}

fn json(machines: &Machines, machine: &str, command: &str) -> Value {
    serde_json::from_str(&ask(machines, machine, command)).unwrap()
}

/// The fourth machine has its fair share, give or take one.
fn shares_are_fair(machines: &Machines) {
    let status = json(machines, "ranch3", "ranch status --json");
    let mut shares = BTreeMap::<u64, usize>::new();
    for shard in status["shards"].as_array().unwrap() {
        for replica in shard["replicas"].as_array().unwrap() {
            *shares.entry(replica.as_u64().unwrap()).or_default() += 1;
        }
    }
    let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
    assert!(shares.len() == 4 && most - least <= 1, "{shares:?}");
}

/// Every machine's doctor sees its node and router running, and the way to all others.
fn doctors_are_content(machines: &Machines) {
    for machine in ["ranch1", "ranch2", "ranch3", "ranch4"] {
        let report = json(machines, machine, "ranch doctor --json");
        let findings = report["findings"].as_array().unwrap();
        let well = |check: &str| {
            let found = findings.iter().filter(|finding| finding["check"] == check);
            found.filter(|finding| finding["level"] == "ok").count()
        };
        for (check, count) in [
            ("config", 1),
            ("node", 1),
            ("address", 1),
            ("data", 1),
            ("peer", 3),
            ("open files", 1),
            ("admin key", 1),
            ("router", 1),
            ("ranch", 1),
        ] {
            assert_eq!(well(check), count, "{check} on {machine}: {report:#}");
        }
    }
    // Something else at the node's address, here a router, is a problem, and named.
    let stopped = "\
set +e
systemctl stop ranch-node
export RANCH_NODE_4_ADDR=10.77.0.14:7199 RANCH_TLS_ALLOW_PLAINTEXT=true
ranch router --listen 10.77.0.14:7100 >/tmp/stranger 2>&1 &
router=$!
until curl -s -o /dev/null http://10.77.0.14:7100/; do
  kill -0 $router || { cat /tmp/stranger; exit 3; }
  sleep 0.1
done
unset RANCH_NODE_4_ADDR RANCH_TLS_ALLOW_PLAINTEXT
ranch doctor
status=$?
kill $router
wait $router
systemctl start ranch-node
exit $status";
    let output = machines.run("ranch4", stopped);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("what listens at 10.77.0.14:7100 is not ranch4"), "{out}");
}

/// Every metric that the rules name is one that a ranch has.
fn alerts_name_metrics(machines: &Machines) {
    // Of a router that has answered requests: what it has not counted yet, it does not show.
    let metrics = "curl -sf -H \"Authorization: Bearer $(cat /var/lib/ranch/admin.key)\" \
                   http://127.0.0.1:1337/api/v2/metrics";
    let metrics = ask(machines, "ranch2", metrics);
    let known = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let known: BTreeSet<_> = known.collect();
    let rules = ask(machines, "ranch3", "cat /usr/local/share/ranch/ranch-alerts.yml");
    let exprs = rules.lines().map(str::trim).filter(|line| {
        !line.starts_with('#') && !line.starts_with("summary") && !line.starts_with("remedy")
    });
    let words = exprs.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let named: BTreeSet<_> =
        words.filter(|word| word.starts_with("ranch_") || word.starts_with("sq_")).collect();
    assert!(named.len() >= 10, "{named:?}");
    let base = |name: &str| {
        let base = name.strip_suffix("_bucket").or_else(|| name.strip_suffix("_count"));
        base.unwrap_or(name).to_owned()
    };
    // Shown only while a tenant is near its quota.
    let seldom = ["ranch_tenant_quota_ratio"];
    let unknown = named.iter().filter(|name| {
        !known.contains(**name) && !known.contains(&*base(name)) && !seldom.contains(*name)
    });
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&&str>::new(), "known: {known:?}");
}

/// A node may have its compactions step behind, and systemd itself finds nothing wrong with the
/// units, where it is installed.
fn units_are_sound(machines: &Machines) {
    let unit = ask(machines, "ranch1", "cat /usr/local/lib/systemd/system/ranch-node.service");
    let at = |line: &str| unit.lines().position(|other| other == line);
    let (refused, let_in) =
        (at("SystemCallFilter=~@privileged @resources"), at("SystemCallFilter=setpriority"));
    assert!(refused.is_some() && refused < let_in, "the last word counts: {unit}");
    let tool = Path::new("/usr/bin/systemd-analyze");
    if !tool.exists() {
        eprintln!("not tested here: units, as there is no systemd-analyze");
        return;
    }
    let units = "/usr/local/lib/systemd/system/ranch-*.service";
    ask(machines, "ranch1", &format!("systemd-analyze verify --man=no {units}"));
    let rated = format!("systemd-analyze security --offline=true --threshold=20 {units}");
    ask(machines, "ranch1", &rated);
}

/// One that was removed ends with the status its unit takes as final.
fn a_node_that_has_left_is_not_started_again(machines: &Machines) {
    ask(machines, "ranch1", "ranch node remove ranch4 --wait");
    let status = ask(machines, "ranch4", "systemctl show ranch-node");
    let unit = ask(machines, "ranch4", "cat /usr/local/lib/systemd/system/ranch-node.service");
    let mut said = unit.lines().filter_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    let finals: Vec<_> = said.next_back().unwrap_or_default().split_whitespace().collect();
    assert!(finals.contains(&status.trim()), "{finals:?}: {status} {}", machines.logs());
}

#[test]
fn stand_ins_are_programs() {
    for name in ["ssh", "systemctl"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/stand-ins").join(name);
        let checked = Command::new("bash").args([OsStr::new("-n"), path.as_os_str()]).status();
        assert!(checked.unwrap().success(), "{name}");
    }
}
