//! Whom a replica has promised to follow: what linearizable reads of other leaders rely on (R2).

use std::time::{Duration, Instant};

use openraft::storage::RaftLogStorage;
use ranch_raft::types::Vote;

use super::support::*;

/// Stops the log writer before it stores a vote.
const BEFORE: &str = "log_before_vote";

#[tokio::test]
async fn a_vote_binds_before_it_is_stored() {
    let dir = scratch();
    let store = open(dir.path());
    let mut log = group(&store, 1);
    let promise = log.promise();
    assert!(promise.latest().is_none() && promise.is_kept_to(&vote(1)), "it has never voted");
    log.save_vote(&vote(4)).await.unwrap();
    assert!(promise.is_kept_to(&Vote::new_committed(4, 1)), "whom it voted for leads");
    assert!(!promise.is_kept_to(&Vote::new_committed(3, 1)), "an earlier leader");

    fail::cfg(BEFORE, "pause").unwrap();
    let saving = tokio::spawn(async move { log.save_vote(&vote(5)).await });
    let began = Instant::now();
    while promise.latest() != Some(vote(5)) {
        assert!(began.elapsed() < Duration::from_secs(10), "the vote is not noted");
        tokio::task::yield_now().await;
    }
    assert!(!promise.is_kept_to(&Vote::new_committed(4, 1)));
    assert!(!saving.is_finished(), "it cannot be stored yet");
    fail::remove(BEFORE);
    saving.await.unwrap().unwrap();
    drop((promise, store));
    let promise = group(&open(dir.path()), 1).promise();
    assert_eq!(promise.latest(), Some(vote(5)), "after a restart");
}
