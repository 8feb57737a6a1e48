//! Files made at random from the words of tenants files, and files with bytes changed: none breaks
//! the reader, none is taken that names a tenant twice, and no complaint shows a key.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ranch_proto::ids::is_tenant_id;
use serde_json::json;

use super::*;

const SECRET: &str = "canary-4c1d-of-a-key";

/// Values as they stand in tenants files, right and wrong ones.
fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::sample::select(vec!["will", "ann", "Will", "", "/data/will", "a/../b", "blake3:0f"])
            .prop_map(Value::from),
        Just(Value::from(SECRET)),
        ".{0,12}".prop_map(Value::from),
    ]
}

fn field() -> impl Strategy<Value = String> {
    let words = vec![
        "id",
        "api_key",
        "api_key_hash",
        "data_dir",
        "quota_mb",
        "enabled",
        "name",
        "token",
        "port",
        "tenants",
        "reload_on_change",
        "admin_key",
        "confirm_removals",
        SECRET,
    ];
    prop_oneof![9 => prop::sample::select(words).prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((field(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// A file that is right, in one of the three shapes.
fn file() -> impl Strategy<Value = Value> {
    let ids = prop::collection::btree_set("[a-z0-9][a-z0-9_-]{0,10}", 0..6);
    (ids, 0..3).prop_map(|(ids, shape)| {
        let key = |id: &str| format!("{SECRET}-{id}");
        let list = |make: &dyn Fn(&String) -> Value| ids.iter().map(make).collect::<Value>();
        match shape {
            0 => json!({"tenants": list(&|id| json!({"id": id, "api_key": key(id)}))}),
            1 => {
                let by_key = ids.iter().map(|id| (key(id), json!({"name": id})));
                json!({"tenants": by_key.collect::<Map<_, _>>()})
            }
            _ => list(&|id| json!({"token": key(id), "data_dir": format!("/data/{id}")})),
        }
    })
}

fn check(text: &[u8]) -> Result<usize, TestCaseError> {
    match parse(text) {
        Ok(contents) => {
            let ids: BTreeSet<_> = contents.tenants.iter().map(|tenant| &tenant.id).collect();
            prop_assert_eq!(ids.len(), contents.tenants.len(), "an id is there twice");
            prop_assert!(ids.iter().all(|id| is_tenant_id(id)), "{:?}", ids);
            Ok(ids.len())
        }
        Err(error) => {
            // Ids, and names of fields, may be shown; what stands where a key does may not.
            prop_assert!(!error.fault.to_string().is_empty() && !error.at.is_empty());
            Ok(0)
        }
    }
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(value in value()) {
        check(value.to_string().as_bytes())?;
    }

    #[test]
    fn a_right_file_is_read_whole(file in file()) {
        let tenants = match &file {
            Value::Array(list) => list.len(),
            other => match &other["tenants"] {
                Value::Array(list) => list.len(),
                by_key => by_key.as_object().map_or(0, Map::len),
            },
        };
        prop_assert_eq!(check(file.to_string().as_bytes())?, tenants);
    }

    /// As an editor or a full disk may leave it.
    #[test]
    fn a_damaged_file_shows_no_key(
        file in file(),
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        whole in any::<bool>(),
    ) {
        let mut text = file.to_string().into_bytes();
        let at = cut.index(text.len());
        if whole { text[at] = byte } else { text.truncate(at) }
        check(&text)?;
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().contains(SECRET), "{}", error);
        }
    }
}
