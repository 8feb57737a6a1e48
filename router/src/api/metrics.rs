//! `metrics`: the whole ranch in numbers, for Prometheus, whichever router is asked. What concerns
//! tenants comes from their shards' leaders, the rest from each node and from this router.

mod tenants;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::header::HeaderValue;
use ranch_proto::schema::{GroupStatus, MetricFamily, NodeStatusReply};
use ranch_proto::{NodeId, Shards};

use crate::api::Call;
use crate::http::answer::{self, Answer};
use crate::metrics::text::Page;

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// A node that does not answer in this time is shown as down.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Answers with all metrics.
pub async fn answer<S: Shards>(call: &Call<'_, S>) -> Answer {
    let (families, nodes) = futures_util::join!(tenants::families(call.app), nodes(call));
    let mut page = Page::default();
    for family in families {
        page.add(family);
    }
    let mut up =
        MetricFamily::gauge("ranch_up", "1 for a node that answers, 0 for one that does not.");
    for (node, status) in &nodes {
        let value = if status.is_some() { 1.0 } else { 0.0 };
        up.push(&[("node", &node.to_string())], value);
    }
    page.add(up);
    for (node, status) in nodes {
        let Some(status) = status else { continue };
        let node = node.to_string();
        page.add_of_node(&node, groups(&status.groups));
        page.add_of_node(&node, status.metrics);
    }
    for family in call.app.metrics.families() {
        page.add(family);
    }
    for certificates in &call.app.options.certificates {
        certificates.0.metrics().into_iter().for_each(|family| page.add(family));
    }
    let help = "Times the tenants file could not be brought into force.";
    let mut errors = MetricFamily::counter("ranch_tenants_file_errors_total", help);
    errors.push(&[], call.app.tenants_file.as_ref().map_or(0.0, |file| file.errors() as f64));
    page.add(errors);
    answer::of(CONTENT_TYPE, bytes::Bytes::from(page.render()))
}

async fn nodes<S: Shards>(call: &Call<'_, S>) -> Vec<(NodeId, Option<NodeStatusReply>)> {
    let shards = &*call.app.shards;
    let nodes: Vec<NodeId> = shards.directory().read().nodes.keys().copied().collect();
    let deadline = Instant::now() + ANSWER_MAX;
    join_all(nodes.into_iter().map(|node| async move {
        let answer = tokio::time::timeout(ANSWER_MAX, shards.node_status(node, deadline)).await;
        (node, answer.ok().and_then(Result::ok))
    }))
    .await
}

/// A gauge of Raft: its name, what it means, and where it is in a group's account.
type Gauge = (&'static str, &'static str, fn(&GroupStatus) -> f64);

const GAUGES: [Gauge; 6] = [
    ("ranch_raft_term", "The term of a replica.", |group| group.term as f64),
    ("ranch_raft_is_leader", "1 for the replica that leads its group.", |group| {
        f64::from(u8::from(group.state == "leader"))
    }),
    ("ranch_raft_last_index", "The last log entry of a replica.", |group| group.last_index as f64),
    ("ranch_raft_applied_index", "The last entry applied by a replica.", |group| {
        group.applied as f64
    }),
    ("ranch_raft_durable_index", "The last entry whose effects a replica has on disk.", |group| {
        group.durable_applied as f64
    }),
    ("ranch_raft_lag_entries", "Entries a replica has and has not applied.", |group| {
        group.last_index.saturating_sub(group.applied) as f64
    }),
];

/// What replicas say of their groups.
fn groups(groups: &[GroupStatus]) -> Vec<MetricFamily> {
    let mut all: Vec<MetricFamily> = Vec::new();
    for (name, help, value) in GAUGES {
        let mut family = MetricFamily::gauge(name, help);
        for group in groups {
            family.push(&[("group", &group.group.to_string())], value(group));
        }
        all.push(family);
    }
    let help = "Entries the follower furthest behind lacks, as its leader knows.";
    let mut behind = MetricFamily::gauge("ranch_raft_follower_lag_entries", help);
    let help = "Leaders a replica has seen begin since its process started.";
    let mut elections = MetricFamily::counter("ranch_raft_elections_total", help);
    for group in groups {
        let label = group.group.to_string();
        elections.push(&[("group", &label)], group.elections as f64);
        let lags = group.progress.iter().map(|p| group.last_index.saturating_sub(p.matched));
        if let (true, Some(lag)) = (group.state == "leader", lags.max()) {
            behind.push(&[("group", &label)], lag as f64);
        }
    }
    all.extend([behind, elections]);
    all
}
