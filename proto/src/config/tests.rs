//! What the configuration promises, `ranch.toml` at the root included.

use std::path::Path;

use super::*;

const SHIPPED: &str = include_str!("../../../ranch.toml");

fn refusal(text: &str) -> String {
    Config::parse(text).expect_err(text).to_string()
}

#[test]
fn the_shipped_file_is_the_defaults_key_by_key() {
    let shipped: toml::Table = SHIPPED.parse().unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (section, _) in SECTIONS.iter().filter(|(name, _)| *name != "node") {
        let (file, built_in) = (&shipped[*section], &defaults[*section]);
        for (key, value) in built_in.as_table().unwrap() {
            assert_eq!(file.get(key), Some(value), "[{section}] {key}");
        }
        assert_eq!(file, built_in, "[{section}]");
    }
    assert_eq!(Config::parse(SHIPPED).unwrap(), Config::default());
}

#[test]
fn the_shipped_file_mentions_every_key() {
    for (section, keys) in SECTIONS {
        assert!(SHIPPED.contains(&unknown::heading(section)), "{section}");
        for key in keys {
            let mentions = |line: &str| {
                let line = line.trim_start_matches(['#', ' ']);
                line.strip_prefix(key).is_some_and(|rest| rest.starts_with(' '))
            };
            assert!(SHIPPED.lines().any(mentions), "[{section}] {key}");
        }
    }
}

#[test]
fn keys_are_exactly_the_fields() {
    let mut config = Config::default();
    config.router.tenants = Some("t".into());
    config.router.tls_cert = Some("c".into());
    config.router.tls_key = Some("k".into());
    config.tls.dir = Some("d".into());
    config.nodes[0].listen = Some("127.0.0.1:1".into());
    let table = toml::Table::try_from(config).unwrap();
    for (section, keys) in SECTIONS {
        let value = &table[section];
        let fields = value.as_array().map_or(value, |nodes| &nodes[0]).as_table().unwrap();
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let mut found: Vec<_> = fields.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, sorted, "{section}");
    }
}

#[test]
fn unknown_names_suggest_the_nearest_and_say_where() {
    for (text, line, unknown, suggestion) in [
        ("[cluster]\nname = 'a'\nshard = 3\n", "line 3", "`shard`", "did you mean `shards`?"),
        ("[storage]\nflush_intervall_ms = 3\n", "line 2", "[storage]", "`flush_interval_ms`"),
        ("\n[limit]\n", "line 2", "`limit`", "did you mean [limits]?"),
        ("[cluster]\nlisten = 'x'\n", "line 2", "`listen`", "is a key of [router]"),
        ("shards = 3\n", "line 1", "`shards`", "is a key of [cluster]"),
        ("[[node]]\nid = 1\nadr = 'x'\n", "line 3", "[[node]]", "did you mean `addr`?"),
    ] {
        let message = refusal(text);
        for part in [line, unknown, suggestion] {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}

#[test]
fn wrong_types_and_broken_toml_name_the_line() {
    for text in ["[cluster]\nshards = 'x'\n", "[cluster]\nshards = = 3\n"] {
        assert!(refusal(text).contains("line 2"), "{}", refusal(text));
    }
    assert!(refusal("[log]\nlevel = 'loud'\n").contains("loud"));
    assert!(refusal("[[node]]\nid = 1\n").contains("name"));
}

#[test]
fn rules_are_kept() {
    let node = |id: u32, rest: &str| format!("[[node]]\nid = {id}\nname = 'n{id}'\n{rest}\n");
    let at = |id: u32, port: u32| node(id, &format!("addr='127.0.0.1:{port}'\ndata_dir='d{id}'"));
    for (text, part) in [
        ("[cluster]\nshards = 0".to_owned(), "[cluster] shards is `0`"),
        ("[cluster]\nreplicas = 2".to_owned(), "only 1, 3, 5 or 7"),
        ("[cluster]\nreplicas = 9".to_owned(), "only 1, 3, 5 or 7"),
        ("[cluster]\nheartbeat_ms = 200".to_owned(), "twice heartbeat_ms"),
        ("[cluster]\nelection_max_ms = 300".to_owned(), "greater than election_min_ms"),
        ("[cluster]\nname = ''".to_owned(), "[cluster] name"),
        ("node = []".to_owned(), "at least one node"),
        (at(0, 1), "ids begin at 1"),
        (at(1, 1) + &at(1, 2), "[[node]] n1 id has it already"),
        (at(1, 1) + &at(2, 1), "[[node]] n1 addr has it already"),
        (at(1, 1337), "[router] listen has it already"),
        (node(1, "addr='127.0.0.1'\ndata_dir='d'"), "an address is host:port"),
        (node(1, "addr='10.0.0.1:7101'\ndata_dir='d'"), "allow_plaintext = true"),
        ("[router]\nlisten = '0.0.0.0:1337'".to_owned(), "allow_plaintext = true"),
        ("[limits]\nscroll_max_bytes = 67108865".to_owned(), "[limits] scroll_max_bytes"),
        ("[storage]\nwrite_buffer_mb = 0".to_owned(), "[storage] write_buffer_mb"),
        ("[placement]\nmoves_at_once = 0".to_owned(), "[placement] moves_at_once"),
        ("[placement]\nreplace_dead_after_s = 3".to_owned(), "a restart for a dead machine"),
    ] {
        let message = refusal(&text);
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn plaintext_may_be_allowed_beyond_this_machine() {
    let text = "[tls]\nallow_plaintext = true\n[router]\nlisten = '0.0.0.0:1337'\n\
                [[node]]\nid = 7\nname = 'far'\naddr = 'far.example:7101'\ndata_dir = 'd'\n";
    let config = Config::parse(text).unwrap();
    assert_eq!(config.node("far"), config.node("7"));
    assert_eq!(config.node("7").unwrap().id, 7);
    assert_eq!(config.node("8"), None);
}

#[test]
fn what_is_protected_may_leave_this_machine() {
    let node = |name: &str| {
        format!("[[node]]\nid = 7\nname = '{name}'\naddr = 'far.example:7101'\ndata_dir = 'd'\n")
    };
    let (dir, https) = ("[tls]\ndir = 'certs'\n", "[router]\nlisten = '0.0.0.0:443'\n");
    let both = "tls_cert = 'a.crt'\ntls_key = 'a.key'\n";
    let config = Config::parse(&format!("{dir}{}", node("far"))).unwrap();
    assert_eq!(
        (config.tls.dir.as_deref(), config.unprotected().len()),
        (Some("certs".as_ref()), 0)
    );
    assert!(Config::parse(&format!("{https}{both}")).unwrap().unprotected().is_empty());
    // The one does not stand in for the other.
    let said = refusal(&format!("{dir}{https}{}", node("far")));
    assert!(said.contains("tls_cert") && said.contains("[router] listen"), "{said}");
    let said = refusal(&format!("{https}{both}{}", node("far")));
    assert!(said.contains("ranch certs init") && said.contains("far addr"), "{said}");
    for half in ["tls_cert = 'a.crt'\n", "tls_key = 'a.key'\n"] {
        let said = refusal(&format!("{https}{half}"));
        assert!(said.contains("both, tls_cert and tls_key"), "{said}");
    }
    assert!(refusal("[tls]\ndir = ''\n").contains("[tls] dir"));
    for taken in ["router", "ca"] {
        let said = refusal(&format!("{dir}{}", node(taken)));
        assert!(said.contains("no node is called"), "{said}");
    }
    let open = format!("[tls]\nallow_plaintext = true\n{https}{}", node("far"));
    let open = Config::parse(&open).unwrap().unprotected();
    assert_eq!(open.len(), 2, "{open:?}");
}

#[test]
fn the_environment_goes_over_the_file() {
    let variables = [
        ("RANCH_CLUSTER_SHARDS", "5"),
        ("RANCH_ROUTER_LISTEN", "127.0.0.1:9"),
        ("RANCH_ROUTER_TENANTS", "t.json"),
        ("RANCH_ROUTER_CORS_ORIGINS", "https://a.example, https://b.example"),
        ("RANCH_ROUTER_LOG_REQUESTS", "false"),
        ("RANCH_LOG_FORMAT", "json"),
        ("RANCH_NODE_2_ADDR", "127.0.0.1:8"),
        ("RANCH_ROUTER_SERVICE_HOST", "not ours"),
    ];
    let lookup = |name: &str| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, v)| (*v).to_owned())
    };
    let config = Config::default().overridden_by(&lookup).unwrap();
    assert_eq!(config.cluster.shards, 5);
    assert_eq!(config.router.listen, "127.0.0.1:9");
    assert_eq!(config.router.tenants.as_deref(), Some(Path::new("t.json")));
    assert_eq!(config.router.cors_origins, ["https://a.example", "https://b.example"]);
    assert!(!config.router.log_requests);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.nodes[1].addr, "127.0.0.1:8");
    assert_eq!(config.nodes[0], NodeConfig::local(1));
}

#[test]
fn every_key_can_be_set_from_the_environment() {
    for (section, keys) in SECTIONS {
        let middle = if section == "node" { "NODE_1".to_owned() } else { section.to_uppercase() };
        for key in keys {
            let wanted = format!("RANCH_{middle}_{}", key.to_uppercase());
            let asked = std::cell::Cell::new(false);
            let lookup = |name: &str| {
                asked.set(asked.get() || name == wanted);
                None
            };
            Config::default().overridden_by(&lookup).unwrap();
            assert!(asked.get(), "{wanted}");
        }
    }
}

#[test]
fn a_variable_that_does_not_fit_is_named() {
    for (variable, value) in [
        ("RANCH_CLUSTER_SHARDS", "many"),
        ("RANCH_CLUSTER_SHARDS", "-1"),
        ("RANCH_TLS_ALLOW_PLAINTEXT", "yes"),
        ("RANCH_LOG_LEVEL", "loud"),
    ] {
        let lookup = |name: &str| (name == variable).then(|| value.to_owned());
        let error = Config::default().overridden_by(&lookup).expect_err(variable).to_string();
        assert!(error.contains(variable) && error.contains(value), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/ranch.toml"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/ranch.toml"), "{error}");
}

#[test]
fn addresses() {
    for good in ["127.0.0.1:1", "localhost:65535", "[::1]:7", "a-b.example:0"] {
        assert!(host_and_port(good).is_some(), "{good}");
    }
    for bad in ["", ":1", "a", "a:", "a:65536", "a b:1", "::1:7", "[::1]", "[x]:1", "[]:1"] {
        assert!(host_and_port(bad).is_none(), "{bad}");
    }
    assert!(is_loopback("127.9.9.9:1") && is_loopback("[::1]:1") && is_loopback("localhost:1"));
    assert!(!is_loopback("10.0.0.1:1") && !is_loopback("0.0.0.0:1") && !is_loopback("x"));
}
