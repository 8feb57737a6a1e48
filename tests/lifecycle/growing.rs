//! A ranch whose `ranch.toml` lists some of its machines at first, and more as they come.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use http::Method;
use ranch_chaos::ranch::ADMIN_KEY;
use ranch_chaos::wait::until;
use ranch_chaos::{Answer, Layout, Ranch};
use serde_json::Value;

use crate::support::BINARY;
use crate::{LIMIT, TENANT};

/// See the module.
pub struct Growing {
    pub ranch: Ranch,
    /// Everything before the first machine, then a part a machine.
    parts: Vec<String>,
}

impl Growing {
    /// Founds a ranch of the first `nodes` of the layout's machines, with one tenant.
    pub async fn found(layout: &Layout, nodes: u32) -> (Self, String) {
        let mut growing = Self::prepare(layout);
        let key = growing.start(nodes).await;
        (growing, key)
    }

    /// Puts everything in place without starting a process.
    pub fn prepare(layout: &Layout) -> Self {
        let ranch = Ranch::prepare(BINARY, layout).expect("a place for a ranch");
        let text = fs::read_to_string(ranch.config()).unwrap();
        let parts = text.split("\n[[node]]").map(str::to_owned).collect();
        Self { ranch, parts }
    }

    /// Founds a ranch of the first `nodes` machines; returns the key of its tenant.
    pub async fn start(&mut self, nodes: u32) -> String {
        self.list(nodes);
        for id in 1..=nodes {
            self.ranch.node(id).unwrap().start().unwrap();
        }
        self.ranch.router().start().unwrap();
        self.ranch.wait_ready().await.expect("a ranch starts");
        self.ranch.add_tenant(TENANT).await.expect("a tenant can be added")
    }

    /// Has `ranch.toml` list so many machines.
    pub fn list(&self, nodes: u32) {
        let text = self.parts[..=nodes as usize].join("\n[[node]]");
        fs::write(self.ranch.config(), text).unwrap();
    }

    /// Has `ranch.toml` list all of these machines, and starts one.
    pub fn add(&mut self, id: u32) {
        self.list(id);
        self.ranch.node(id).unwrap().start().unwrap();
    }

    /// Posts to an administrators' endpoint.
    pub async fn post(&self, path: &str) -> Answer {
        let mut admin = self.ranch.client(Some(ADMIN_KEY)).with_limit(LIMIT);
        let path = format!("/api/v2/admin/cluster/{path}");
        let json = [("accept", "application/json")];
        admin.send(Method::POST, &path, &json, "").await.expect("an answer")
    }

    /// What the ranch says about itself.
    pub async fn account(&self) -> Option<Value> {
        let mut admin = self.ranch.client(Some(ADMIN_KEY)).with_limit(Duration::from_secs(5));
        let answer = admin.get("/api/v2/admin/cluster").await.ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// Waits until what the ranch says about itself is as wanted.
    pub async fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let probe = async || {
            last = self.account().await?;
            wanted(&last).then(|| last.clone())
        };
        let found = until(what, LIMIT, probe).await;
        found.unwrap_or_else(|error| panic!("{error}; last seen: {last:#}"))
    }

    /// Asserts that copies have not moved more often than they had to: nothing came back to where
    /// it had been, and what came to the `new` nodes stayed there, but for one on each that may
    /// have gone on to a node that came a moment later.
    pub fn assert_moved_once(&self, new: &[u32], account: &Value) {
        for (id, load) in loads(account) {
            let place = self.ranch.node_place(id as u32).unwrap();
            let roster = fs::read_to_string(place.data_dir.join("replicas.toml")).unwrap();
            let roster: toml::Table = roster.parse().unwrap();
            let shards = roster["shard"].as_array().unwrap();
            let number = |shard: &toml::Value, field| {
                shard.get(field).and_then(toml::Value::as_integer).unwrap_or_default()
            };
            for shard in shards {
                let (here, gone) = (number(shard, "replica"), number(shard, "gone"));
                // What is being deleted is still listed.
                assert!(gone == 0 || here == 0 || here == gone, "node {id}: {roster}");
            }
            if new.contains(&(id as u32)) {
                assert!(shards.len() <= load + 1, "more than its share on node {id}: {roster}");
            }
        }
    }

    /// Waits until every shard has `copies` voters on `nodes` and nothing moves any more.
    pub async fn settled(&self, nodes: &[u32], copies: usize) -> Value {
        self.wait(&format!("{copies} copies on {nodes:?}"), |account| {
            is_settled(account, nodes, copies)
        })
        .await
    }
}

fn is_settled(account: &Value, nodes: &[u32], copies: usize) -> bool {
    let there = numbers(&account["nodes"], "id");
    let whole = |shard: &Value| {
        shard["voters"].as_array().is_some_and(|voters| voters.len() == copies)
            && shard["replicas"].as_array().is_some_and(|replicas| replicas.len() == copies)
            && shard["moving"].is_null()
            && !shard["leader"].is_null()
    };
    let loads = loads(account);
    let fair = loads.values().max() <= loads.values().min().map(|load| load + 1).as_ref();
    there == nodes && fair && account["moves"].is_null() && shards(account).iter().all(whole)
}

fn numbers(list: &Value, field: &str) -> Vec<u32> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| item[field].as_u64()).map(|number| number as u32).collect()
}

pub fn shards(account: &Value) -> &[Value] {
    account["shards"].as_array().map_or(&[], Vec::as_slice)
}

/// How many copies each node has.
pub fn loads(account: &Value) -> BTreeMap<u64, usize> {
    let mut loads: BTreeMap<u64, usize> = BTreeMap::new();
    for node in account["nodes"].as_array().into_iter().flatten() {
        loads.insert(node["id"].as_u64().unwrap(), 0);
    }
    for replica in shards(account).iter().flat_map(|s| s["replicas"].as_array().unwrap()) {
        *loads.entry(replica.as_u64().unwrap()).or_default() += 1;
    }
    loads
}

/// How many groups each node leads, the meta group aside.
pub fn leads(account: &Value) -> BTreeMap<u64, usize> {
    let mut leads: BTreeMap<u64, usize> = BTreeMap::new();
    for leader in shards(account).iter().filter_map(|shard| shard["leader"].as_u64()) {
        *leads.entry(leader).or_default() += 1;
    }
    leads
}
