//! The directory: everything the meta group has decided, as plain maps. The meta state machine,
//! every node and every router hold one and change it only by applying [`Record`]s in order.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::api_key::KeyHash;
use crate::ids::{GroupId, NodeId, ReplicaId};
use crate::schema::{
    ClusterRecord, GoneNode, JoinToken, KeyRecord, NodeRecord, Record, ShardRecord, TenantRecord,
    record::What,
};
use crate::versions::{FORMATS, Feature};

/// A directory that one task updates and many read. Never hold the lock across an await.
pub type SharedDirectory = Arc<parking_lot::RwLock<Directory>>;

/// Nodes, shards, tenants and keys of a ranch at one epoch.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// How many changes have been applied; grows by one with each.
    pub epoch: u64,
    /// Absent until the ranch is bootstrapped.
    pub cluster: Option<ClusterRecord>,
    /// Machines by id.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// Shards by group, from 1.
    pub shards: BTreeMap<GroupId, ShardRecord>,
    /// Tenants by id.
    pub tenants: BTreeMap<String, TenantRecord>,
    /// Machines that have left, by id.
    pub gone: BTreeMap<NodeId, GoneNode>,
    /// What lets further machines join, by hash.
    pub tokens: BTreeMap<Vec<u8>, JoinToken>,
    keys: HashMap<KeyHash, KeyRecord>,
    /// Which keys a tenant has, revoked ones too.
    owned: HashMap<String, Vec<KeyHash>>,
}

impl Directory {
    /// Puts one record in force, or takes it out when it says it is removed.
    pub fn apply(&mut self, record: Record) {
        let removed = record.removed;
        match record.what {
            Some(What::Cluster(cluster)) => self.cluster = (!removed).then_some(cluster),
            Some(What::Node(node)) => put(&mut self.nodes, NodeId(node.id), node, removed),
            Some(What::Shard(shard)) => put(&mut self.shards, GroupId(shard.id), shard, removed),
            Some(What::Tenant(tenant)) => {
                put(&mut self.tenants, tenant.id.clone(), tenant, removed);
            }
            Some(What::Key(key)) => self.apply_key(key, removed),
            Some(What::Gone(gone)) => put(&mut self.gone, NodeId(gone.id), gone, removed),
            Some(What::Token(token)) => {
                put(&mut self.tokens, token.hash.to_vec(), token, removed);
            }
            // A kind of record this version does not know: the cluster version is raised only
            // when every node knows it, so it is not for us.
            None => {}
        }
    }

    fn apply_key(&mut self, key: KeyRecord, removed: bool) {
        let Some(hash) = KeyHash::from_slice(&key.hash) else { return };
        if !removed {
            let owner = key.tenant.clone();
            if self.keys.insert(hash, key).is_none() {
                self.owned.entry(owner).or_default().push(hash);
            }
            return;
        }
        let Some(gone) = self.keys.remove(&hash) else { return };
        if let Entry::Occupied(mut owned) = self.owned.entry(gone.tenant) {
            owned.get_mut().retain(|other| *other != hash);
            if owned.get().is_empty() {
                owned.remove();
            }
        }
    }

    /// Every record, such that applying them to an empty directory gives this one.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let cluster = self.cluster.iter().cloned().map(What::Cluster);
        let nodes = self.nodes.values().cloned().map(What::Node);
        let shards = self.shards.values().cloned().map(What::Shard);
        let tenants = self.tenants.values().cloned().map(What::Tenant);
        let keys = self.keys.values().cloned().map(What::Key);
        let gone = self.gone.values().cloned().map(What::Gone);
        let tokens = self.tokens.values().cloned().map(What::Token);
        let all = cluster.chain(nodes).chain(shards).chain(tenants).chain(keys);
        let all = all.chain(gone).chain(tokens);
        all.map(|what| Record { what: Some(what), removed: false })
    }

    /// The record of a presented key, whatever its tenant's state; none for a revoked one.
    #[must_use]
    pub fn find_key(&self, presented: &str) -> Option<&KeyRecord> {
        self.key_of(&self.hash_key(presented)?).filter(|key| !key.revoked)
    }

    /// The record of a key by its hash, also of a revoked one.
    #[must_use]
    pub fn key_of(&self, hash: &KeyHash) -> Option<&KeyRecord> {
        self.keys.get(hash)
    }

    /// The stored form of a key in this ranch; `None` before bootstrap. A key that came with a
    /// tenant from another ranch is known by its hash there, any other by the one here.
    #[must_use]
    pub fn hash_key(&self, key: &str) -> Option<KeyHash> {
        let cluster = self.cluster.as_ref()?;
        let under = |salt: &[u8]| salt.try_into().ok().map(|salt| KeyHash::of(salt, key));
        let here = under(&cluster.key_salt)?;
        if self.has_key(&here) {
            return Some(here);
        }
        let mut elsewhere = cluster.other_salts.iter().filter_map(|salt| under(salt));
        Some(elsewhere.find(|hash| self.has_key(hash)).unwrap_or(here))
    }

    /// Whether a key with this hash exists, or has and was revoked.
    #[must_use]
    pub fn has_key(&self, hash: &KeyHash) -> bool {
        self.keys.contains_key(hash)
    }

    /// Keys of one tenant that are not revoked; those of administrators for the empty name.
    pub fn keys_of<'a>(&'a self, tenant: &str) -> impl Iterator<Item = &'a KeyRecord> {
        self.all_keys_of(tenant).filter(|key| !key.revoked)
    }

    /// Keys of one tenant, revoked ones too.
    pub fn all_keys_of<'a>(&'a self, tenant: &str) -> impl Iterator<Item = &'a KeyRecord> {
        let owned = self.owned.get(tenant).into_iter().flatten();
        owned.filter_map(|hash| self.keys.get(hash))
    }

    /// The replica a node runs now, by its current incarnation.
    #[must_use]
    pub fn replica_on(&self, node: NodeId) -> Option<ReplicaId> {
        let record = self.nodes.get(&node)?;
        Some(ReplicaId::new(node, record.incarnation))
    }

    /// The format the ranch has agreed to write; the first before it is bootstrapped.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.cluster.as_ref().map_or(FORMATS.min, |cluster| cluster.version.max(1))
    }

    /// Whether something may be written or used by now.
    #[must_use]
    pub fn allows(&self, feature: Feature) -> bool {
        self.version() >= feature.since()
    }

    /// Whether a node is to lead nothing.
    #[must_use]
    pub fn is_draining(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.draining || node.leaving)
    }

    /// Machines it takes to have all copies of each shard on different ones.
    #[must_use]
    pub fn machines_needed(&self) -> usize {
        let copies = self.shards.values().map(|shard| shard.replicas.len().max(shard.goal.len()));
        let wanted = self.cluster.as_ref().map_or(0, |cluster| cluster.replicas as usize);
        copies.max().unwrap_or(1).max(wanted.min(self.nodes.len()))
    }

    /// The nodes that hold a group: a shard's replicas, or every machine for the meta group.
    #[must_use]
    pub fn nodes_of(&self, group: GroupId) -> Vec<NodeId> {
        if group == GroupId::META {
            return self.nodes.keys().copied().collect();
        }
        let Some(shard) = self.shards.get(&group) else { return Vec::new() };
        let replicas = shard.replicas.iter().chain(Some(&shard.adding).filter(|id| **id != 0));
        replicas.map(|&replica| ReplicaId(replica).node()).collect()
    }

    /// The replica of a shard that a node runs, or is to run.
    #[must_use]
    pub fn replica_of(&self, group: GroupId, node: NodeId) -> Option<ReplicaId> {
        let shard = self.shards.get(&group)?;
        let all = shard.replicas.iter().copied().map(ReplicaId);
        all.chain([ReplicaId(shard.adding)]).find(|replica| replica.node() == node)
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: V, removed: bool) {
    if removed {
        map.remove(&key);
    } else {
        map.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hash: u8, tenant: &str) -> KeyRecord {
        KeyRecord { hash: vec![hash; 32].into(), tenant: tenant.into(), ..KeyRecord::default() }
    }

    fn put_record(what: What) -> Record {
        Record { what: Some(what), removed: false }
    }

    #[test]
    fn records_rebuild_the_directory() {
        let mut directory = Directory::default();
        let cluster = ClusterRecord { key_salt: vec![7; 32].into(), ..Default::default() };
        directory.apply(put_record(What::Cluster(cluster)));
        directory.apply(put_record(What::Node(NodeRecord {
            id: 2,
            incarnation: 3,
            ..Default::default()
        })));
        directory.apply(put_record(What::Shard(ShardRecord {
            id: 1,
            replicas: vec![2 << 32 | 3],
            ..Default::default()
        })));
        directory.apply(put_record(What::Tenant(TenantRecord {
            id: "will".into(),
            shard: 1,
            ..Default::default()
        })));
        directory.apply(put_record(What::Key(key(1, "will"))));
        let mut copy = Directory::default();
        directory.records().for_each(|record| copy.apply(record));
        assert_eq!(copy.nodes, directory.nodes);
        assert_eq!(copy.tenants, directory.tenants);
        assert_eq!(copy.keys_of("will").count(), 1);
        assert_eq!(copy.replica_on(NodeId(2)), Some(ReplicaId::new(NodeId(2), 3)));
        assert_eq!(copy.nodes_of(GroupId(1)), [NodeId(2)]);
        assert_eq!(copy.nodes_of(GroupId::META), [NodeId(2)]);
    }

    #[test]
    fn keys_of_another_ranch_are_found_under_its_salt() {
        let mut directory = Directory::default();
        let other_salts = vec![vec![8; 32].into(), vec![9; 32].into()];
        let cluster =
            ClusterRecord { key_salt: vec![7; 32].into(), other_salts, ..Default::default() };
        directory.apply(put_record(What::Cluster(cluster)));
        let (here, there) = (KeyHash::of(&[7; 32], "one"), KeyHash::of(&[9; 32], "two"));
        assert_eq!(directory.hash_key("two"), Some(KeyHash::of(&[7; 32], "two")));
        for hash in [here, there] {
            directory.apply(put_record(What::Key(KeyRecord {
                hash: hash.0.to_vec().into(),
                tenant: "a".into(),
                ..Default::default()
            })));
        }
        assert_eq!(directory.hash_key("one"), Some(here));
        assert_eq!(directory.hash_key("two"), Some(there));
        assert!(directory.find_key("two").is_some() && directory.find_key("three").is_none());
    }

    #[test]
    fn keys_are_found_by_presenting_them_and_go_when_removed() {
        let mut directory = Directory::default();
        assert!(directory.find_key("pmb-v1-x").is_none(), "no salt yet");
        let cluster = ClusterRecord { key_salt: vec![7; 32].into(), ..Default::default() };
        directory.apply(put_record(What::Cluster(cluster)));
        let hash = directory.hash_key("pmb-v1-x").unwrap();
        let record =
            KeyRecord { hash: hash.0.to_vec().into(), tenant: "a".into(), ..Default::default() };
        directory.apply(put_record(What::Key(record.clone())));
        assert_eq!(directory.find_key("pmb-v1-x").unwrap().tenant, "a");
        assert!(directory.find_key("pmb-v1-y").is_none());
        let revoked = KeyRecord { revoked: true, ..record.clone() };
        directory.apply(put_record(What::Key(revoked)));
        assert!(directory.find_key("pmb-v1-x").is_none() && directory.has_key(&hash));
        assert_eq!((directory.keys_of("a").count(), directory.all_keys_of("a").count()), (0, 1));
        directory.apply(Record { what: Some(What::Key(record)), removed: true });
        assert!(!directory.has_key(&hash));
    }
}
