//! The cluster version: raised only when every machine can, and beyond what a binary can, nothing
//! of it is used.

use openraft::EntryPayload;
use prost::Message;
use ranch_proto::schema::{
    JoinNode, MetaEntry, MetaStatus, NodeRecord, RaiseVersion, meta_command::What,
};
use ranch_proto::versions::{FORMATS, Feature};
use ranch_raft::state::StateMachine;
use ranch_raft::types::Proposal;

use crate::meta_support::*;
use crate::support::log_id;

fn upgraded(id: u8) -> What {
    let mut asked = node(id.into(), id);
    (asked.format_min, asked.format_max) = (FORMATS.min, FORMATS.max);
    What::Join(JoinNode { node: Some(asked), ..JoinNode::default() })
}

#[test]
fn the_version_is_raised_when_the_last_machine_can_and_then_stays() {
    let mut meta = Meta::bootstrapped();
    let raise = || What::RaiseVersion(RaiseVersion { to: FORMATS.max });
    for id in [1, 3] {
        meta.run(upgraded(id));
    }
    let (status, reason) = meta.refused(raise());
    assert_eq!(status, MetaStatus::MetaExists);
    assert!(reason.contains("node 2 (node2)") && reason.contains("upgrade it"), "{reason}");
    assert!(!meta.feed.version().allows(Feature::JoinTokens));
    meta.run(upgraded(2));
    assert_eq!(meta.run(raise()).status(), MetaStatus::MetaOk);
    assert_eq!(meta.directory().version(), FORMATS.max);
    assert!(meta.feed.version().allows(Feature::JoinTokens));
    let epoch = meta.directory().epoch;
    assert_eq!(meta.run(What::RaiseVersion(RaiseVersion { to: 1 })).status(), MetaStatus::MetaOk);
    assert_eq!((meta.directory().version(), meta.directory().epoch), (FORMATS.max, epoch));
    meta.reopen();
    assert_eq!(meta.feed.version().get(), FORMATS.max);
    // Machines that cannot are not taken in any more, as themselves or anew.
    for asked in [node(2, 2), NodeRecord { format_max: 1, ..node(9, 9) }] {
        let join = What::Join(JoinNode { node: Some(asked), ..JoinNode::default() });
        let (_, reason) = meta.refused(join);
        assert!(reason.contains("cluster version 2") && reason.contains("can do 1"), "{reason}");
    }
}

#[test]
fn what_a_newer_binary_wrote_is_refused_with_the_remedy() {
    let mut meta = Meta::bootstrapped();
    let index = meta.next;
    let newer = MetaEntry { version: FORMATS.max + 1, stamp_ms: 1, commands: Vec::new() };
    let payload = EntryPayload::Normal(Proposal(newer.encode_to_vec().into()));
    let entry = ranch_raft::types::Entry { log_id: log_id(index), payload };
    let error = meta.machine().replay([entry]).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("cluster version 3") && said.contains("can do 1 to 2"), "{said}");
    assert_eq!(error.loss(), None, "nothing is lost by it");
}

#[test]
fn a_directory_of_a_newer_ranch_is_not_opened() {
    let mut meta = Meta::new();
    let mut newer = bootstrap();
    newer.cluster.as_mut().unwrap().version = FORMATS.max + 1;
    meta.run(What::Bootstrap(newer));
    let store = std::sync::Arc::clone(meta.store());
    let Err(error) = StateMachine::meta(&store, std::sync::Arc::clone(&meta.feed)) else {
        panic!("it was opened");
    };
    let said = error.to_string();
    assert!(said.contains("at cluster version 3") && said.contains("can do 1 to 2"), "{said}");
}
