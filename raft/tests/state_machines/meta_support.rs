//! A replica of the meta group on a directory of its own, and short ways to say its commands.

use std::sync::Arc;

use prost::Message;
use ranch_proto::directory::{Directory, SharedDirectory};
use ranch_proto::ids::{NodeId, ReplicaId, RequestId};
use ranch_proto::schema::{
    Bootstrap, ClusterRecord, JoinNode, KeyRecord, MetaCommand, MetaEntry, MetaResult, MetaStatus,
    NodeRecord, PutTenant, Role, ShardRecord, TenantRecord, meta_command::What, record::What as Is,
};
use ranch_proto::versions::FORMATS;
use ranch_raft::state::{MetaFeed, StateMachine, StateStore};
use ranch_raft::types::{Applied, Entry, Proposal};

use crate::support::{log_id, options, real_disk};

pub struct Meta {
    dir: tempfile::TempDir,
    open: Option<(Arc<StateStore>, StateMachine)>,
    pub feed: Arc<MetaFeed>,
    pub next: u64,
}

impl Meta {
    pub fn new() -> Self {
        let dir = real_disk();
        let feed = MetaFeed::new(SharedDirectory::default());
        let mut meta = Self { dir, open: None, feed, next: 0 };
        meta.reopen();
        meta
    }

    pub fn bootstrapped() -> Self {
        let mut meta = Self::new();
        assert_eq!(meta.run(What::Bootstrap(bootstrap())).status(), MetaStatus::MetaOk);
        meta
    }

    /// Opens the store again under a feed that knows nothing.
    pub fn reopen(&mut self) {
        self.open = None;
        self.feed = MetaFeed::new(SharedDirectory::default());
        let store = StateStore::open(self.dir.path(), options()).unwrap();
        let machine = StateMachine::meta(&store, Arc::clone(&self.feed)).unwrap();
        self.open = Some((store, machine));
    }

    pub fn store(&self) -> &Arc<StateStore> {
        &self.open.as_ref().unwrap().0
    }

    pub fn machine(&mut self) -> &mut StateMachine {
        &mut self.open.as_mut().unwrap().1
    }

    pub fn send(&mut self, command: MetaCommand) -> MetaResult {
        let index = self.next;
        self.next += 1;
        let entry = entry(index, vec![command]);
        match self.machine().replay([entry]).unwrap().remove(0) {
            Applied::Meta(mut results) => results.remove(0),
            other => panic!("not answers of the meta group: {other}"),
        }
    }

    pub fn run(&mut self, what: What) -> MetaResult {
        self.send(command(what))
    }

    pub fn directory(&self) -> Directory {
        self.feed.directory().read().clone()
    }

    /// Runs a command that must be refused and change nothing.
    pub fn refused(&mut self, what: What) -> (MetaStatus, String) {
        let epoch = self.directory().epoch;
        let result = self.run(what);
        assert_ne!(result.status(), MetaStatus::MetaOk);
        assert_eq!(result.record, None);
        assert!(!result.reason.is_empty());
        assert_eq!(self.directory().epoch, epoch);
        (result.status(), result.reason)
    }
}

pub fn entry(index: u64, commands: Vec<MetaCommand>) -> Entry {
    let entry = MetaEntry { version: FORMATS.max, stamp_ms: 1_000 + index, commands };
    let payload = openraft::EntryPayload::Normal(Proposal(entry.encode_to_vec().into()));
    Entry { log_id: log_id(index), payload }
}

pub fn command(what: What) -> MetaCommand {
    let request_id = RequestId::random().0.to_vec().into();
    MetaCommand { request_id, what: Some(what) }
}

pub fn node(id: u32, nonce: u8) -> NodeRecord {
    NodeRecord {
        id,
        name: format!("node{id}"),
        addr: format!("127.0.0.1:{id}"),
        incarnation: 1,
        boot_nonce: if nonce == 0 { Vec::new() } else { vec![nonce; 16] }.into(),
        ..NodeRecord::default()
    }
}

pub fn replica(node: u32, incarnation: u32) -> u64 {
    ReplicaId::new(NodeId(node), incarnation).0
}

pub fn bootstrap() -> Bootstrap {
    let cluster = ClusterRecord {
        cluster_id: vec![7; 16].into(),
        name: "ranch".into(),
        key_salt: vec![8; 32].into(),
        version: 1,
        ..ClusterRecord::default()
    };
    let shard = |id| ShardRecord {
        id,
        replicas: vec![replica(1, 1), replica(2, 1), replica(3, 1)],
        initialized: false,
        ..ShardRecord::default()
    };
    Bootstrap {
        cluster: Some(cluster),
        nodes: vec![node(1, 1), node(2, 0), node(3, 3)],
        shards: (1..=4).map(shard).collect(),
        keys: vec![KeyRecord { role: Role::Admin.into(), ..key(1, "", "admin") }],
    }
}

pub fn key(hash: u8, tenant: &str, name: &str) -> KeyRecord {
    KeyRecord {
        hash: vec![hash; 32].into(),
        key_id: name.into(),
        tenant: tenant.into(),
        role: Role::ReadWrite.into(),
        ..KeyRecord::default()
    }
}

pub fn tenant(id: &str) -> TenantRecord {
    TenantRecord { id: id.into(), enabled: true, ..TenantRecord::default() }
}

pub fn add(id: &str, keys: Vec<KeyRecord>) -> What {
    What::AddTenant(PutTenant { tenant: Some(tenant(id)), keys })
}

pub fn join(node: NodeRecord) -> What {
    What::Join(JoinNode { node: Some(node), ..JoinNode::default() })
}

pub fn is_node(result: &MetaResult) -> &NodeRecord {
    match result.record.as_ref().and_then(|record| record.what.as_ref()) {
        Some(Is::Node(node)) => node,
        other => panic!("not a node: {other:?}"),
    }
}
