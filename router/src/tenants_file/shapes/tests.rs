//! Every shape, and every mistake with its words.

use super::*;
use crate::tenants_file::FileKey;

fn parsed(text: &str) -> FileContents {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ids(contents: &FileContents) -> Vec<&str> {
    contents.tenants.iter().map(|tenant| tenant.id.as_str()).collect()
}

#[test]
fn the_documented_shape() {
    let contents = parsed(
        r#"{"tenants":[
            {"id":"will","api_key":"key-will","data_dir":"/x","quota_mb":1.5,"enabled":false},
            {"id":"ann","api_key":"key-ann","quota_mb":null,"colour":"red"}],
            "reload_on_change":true,"admin_key":"key-admin","more":1}"#,
    );
    assert_eq!(ids(&contents), ["will", "ann"]);
    let will = &contents.tenants[0];
    assert_eq!(will.keys, [FileKey::Plain(Secret::new("key-will"))]);
    assert_eq!((will.quota, will.enabled), (Some(Quota::Bytes(1_572_864)), Some(false)));
    assert_eq!(
        (contents.tenants[1].quota, contents.tenants[1].enabled),
        (Some(Quota::Unlimited), None)
    );
    assert_eq!(contents.admin_key, Some(FileKey::Plain(Secret::new("key-admin"))));
    assert!(!contents.by_hand && !contents.confirmed);
    assert_eq!(contents.warnings.len(), 2, "{:?}", contents.warnings);
}

#[test]
fn keys_may_be_given_as_hashes() {
    let hash = format!("blake3:{}", "0f".repeat(32));
    let hashed = FileKey::Hash(KeyHash([0x0f; 32]));
    for text in [
        format!(r#"{{"tenants":[{{"id":"a","api_key_hash":"{hash}"}}],"admin_key":"{hash}"}}"#),
        format!(r#"{{"tenants":[{{"id":"a","api_key":"{hash}"}}]}}"#),
        format!(r#"{{"tenants":{{"{hash}":{{"name":"a"}}}}}}"#),
        format!(r#"[{{"token":"{hash}","data_dir":"/x/a"}}]"#),
    ] {
        let contents = parsed(&text);
        assert_eq!(contents.tenants[0].keys, std::slice::from_ref(&hashed), "{text}");
        assert_eq!(hashed.as_written(), hash);
    }
    let both = parsed(&format!(
        r#"{{"tenants":[{{"id":"a","api_key":"key","api_key_hash":"{hash}"}},
            {{"id":"b","api_key_hash":null}}],"reload_on_change":false,"confirm_removals":true}}"#
    ));
    assert_eq!((both.tenants[0].keys.len(), both.tenants[1].keys.len()), (2, 0));
    assert!(both.by_hand && both.confirmed);
    for bad in [
        r#"[{"id":"a","api_key_hash":"SECRET"}]"#,
        r#"[{"id":"a","api_key_hash":"blake3:SECRET"}]"#,
        r#"[{"id":"a","token":"blake3:00"}]"#,
    ] {
        let error = parse(bad.as_bytes()).unwrap_err();
        assert_eq!(error.fault, Fault::Hash, "{bad}");
        assert!(!error.to_string().contains("SECRET"));
    }
}

#[test]
fn the_shape_of_sq() {
    let contents = parsed(
        r#"{"tenants":{
            "key-2":{"name":"founding-002","data_dir":"/data/founding-002"},
            "key-1":{"name":"First Founder","data_dir":"/data/founding-001/"},
            "key-3":{"name":"founding-002","data_dir":"/data/founding-002"}}}"#,
    );
    assert_eq!(ids(&contents), ["founding-001", "founding-002"]);
    assert_eq!(contents.tenants[1].keys.len(), 2);
    assert_eq!(contents.tenants[1].data_dir.as_deref(), Some("/data/founding-002"));
}

#[test]
fn the_shape_of_sqs_router_bare_and_in_an_object() {
    let list = r#"[{"token":"key-1","port":1338,"data_dir":"/data/user1"},
                   {"token":"key-2","data_dir":"C:\\data\\user2\\"}]"#;
    for text in [list.to_owned(), format!("{{\"tenants\":{list}}}")] {
        let contents = parsed(&text);
        assert_eq!(ids(&contents), ["user1", "user2"]);
        assert!(contents.warnings.is_empty(), "{:?}", contents.warnings);
    }
}

#[test]
fn mistakes_name_the_place_and_the_remedy_and_no_key() {
    for (text, at, words) in [
        ("{", "the file", "not JSON; see line 1"),
        ("7", "the file", "expected {\"tenants\""),
        ("{}", "the file", "expected {\"tenants\""),
        (r#"{"tenants":7}"#, "the file", "expected {\"tenants\""),
        (r#"{"tenants":[7]}"#, "tenants[0]", "an object"),
        (r#"{"tenants":[],"reload_on_change":1}"#, "reload_on_change", "true or false"),
        (r#"{"tenants":[],"admin_key":1}"#, "admin_key", "a text"),
        (r#"[{"id":"a"}]"#, "[0]", "api_key is missing"),
        (r#"[{"token":"SECRET"}]"#, "[0]", "id is missing"),
        (r#"[{"token":"SECRET","id":"A"}]"#, "[0]", "\"A\" cannot be an id"),
        (r#"[{"token":"SECRET","id":""}]"#, "[0].id", "not empty"),
        (r#"[{"token":["SECRET"],"id":"a"}]"#, "[0].token", "a text"),
        (r#"[{"token":"SECRET","id":"a","quota_mb":-1}]"#, "[0].quota_mb", "megabytes"),
        (r#"[{"token":"SECRET","id":"a","quota_mb":"1"}]"#, "[0].quota_mb", "megabytes"),
        (r#"[{"token":"SECRET","id":"a","enabled":"no"}]"#, "[0].enabled", "true or false"),
        (
            r#"[{"token":"SECRET","id":"a"},{"token":"SECRET2","id":"a"}]"#,
            "[1]",
            "the id \"a\" is given twice",
        ),
        (
            r#"[{"token":"SECRET","id":"a"},{"token":"SECRET","id":"b"}]"#,
            "[1]",
            "another tenant has the same key",
        ),
        (r#"{"tenants":{"SECRET":7}}"#, "tenants", "objects under keys"),
        (r#"{"tenants":{"SECRET":{}}}"#, "a tenant", "name is missing"),
        (r#"{"tenants":{"SECRET":{"name":"A B"}}}"#, "named \"A B\"", "cannot be an id"),
    ] {
        let error = parse(text.as_bytes()).expect_err(text);
        assert!(error.at.contains(at), "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(!error.to_string().contains("SECRET"), "{text}: {error}");
    }
}
