//! That the arguments hang together, and that people and scripts can rely on them.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_documented_command_is_understood() {
    for line in [
        "ranch up --config ranch.toml --data-dir d --tenants t.json --admin-key k --listen a:1",
        "ranch node --name node1",
        "ranch node drain node1 --json",
        "ranch node undrain 2",
        "ranch node remove node4 --wait",
        "ranch router --listen 127.0.0.1:1 --tenants t.json",
        "ranch status --json --admin-key k --url http://h:1",
        "ranch verify-state --json --timeout-s 60 --admin-key k",
        "ranch doctor --json --name node1 --config ranch.toml --admin-key k",
        "ranch tenant add will --quota-mb 1.5 --email w@example.org",
        "ranch tenant list --json",
        "ranch tenant show will",
        "ranch tenant set will --quota-mb none --rate-per-s 5 --calls-per-day 7 --profile memory",
        "ranch tenant quota will 1.5",
        "ranch tenant quota will none --json",
        "ranch tenant disable will",
        "ranch tenant restore will",
        "ranch tenant purge will --yes",
        "ranch tenant key add will --role ro --label l --expires-at 2030-01-31T00:00:00Z",
        "ranch tenant key list will --json",
        "ranch tenant key revoke will k-1a2b3c4d",
        "ranch tenant stats will",
        "ranch tenant archive will -",
        "ranch backup d --keep 3 --rate-mb-s 0.5 --patience-s 5 --json --admin-key k",
        "ranch backup d --list",
        "ranch verify d --backup n --json",
        "ranch restore d --backup n --rate-mb-s 8 --url http://h:1",
        "ranch restore d --tenant will --as old --json",
        "ranch read 1.1.1;1.1.1;1.1.1 --key k --phext p",
        "ranch write notes/todo text --if-revision 7",
        "ranch write notes/todo -",
        "ranch append 1.1.1/1.1.1/1.1.1 -x",
        "ranch delete agent.1.1/notes.x.1/1.1.1",
        "ranch list 1.5.*/3.7.3/* --long --limit 10 --after 1.5.1/3.7.3/1.1.1",
        "ranch list",
        "ranch import file.phext --phext p",
        "ranch export --phext p -",
        "ranch bench --clients 64 --seconds 10 --size 1024 --mode write --tenants 3 --rate 100",
        "ranch bench --target etcd --etcd-url http://a:1,http://b:2",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn mistakes_are_named() {
    for (line, part) in [
        ("ranch read 5", "malformed coordinate"),
        ("ranch read 0.1.1/1.1.1/1.1.1", "malformed coordinate"),
        ("ranch list a..b", "malformed pattern"),
        ("ranch tenant add Will", "tenant's id"),
        ("ranch write a/b x --if-absent --if-revision 3", "cannot be used with"),
        ("ranch bench --clients 0", "0"),
        ("ranch statsu", "status"),
        ("ranch restore d --as old", "--tenant"),
        ("ranch restore d --tenant Will", "tenant's id"),
        ("ranch backup d --keep 0", "0"),
        ("ranch backup d --rate-mb-s fast", "number of MB"),
    ] {
        let error = parse(line).expect_err(line).to_string();
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn help_teaches_by_examples_and_shows_no_key() {
    let mut command = Cli::command();
    assert!(command.render_long_help().to_string().contains("ranch up"));
    let with_examples =
        ["up", "write", "list", "import", "export", "bench", "status", "verify-state", "backup"];
    for name in with_examples {
        let command = command.find_subcommand_mut(name).unwrap();
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example"), "{name}");
    }
}
