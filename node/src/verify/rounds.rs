//! The leader's part: which group is compared when, at which index, and what is made of it. One
//! group at a time a node, so that comparing never takes more than a share of the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use ranch_proto::schema::{
    HashRows, OddRows, Reply, Request, RowsHash, Verified, reply, request, rows_hash::State,
    verified::Verdict,
};
use ranch_proto::{GroupId, ReplicaId, ShardError};
use ranch_raft::GroupCore;

use super::compare::{Said, compare, in_words, is_of_one_version, odd};
use super::hashes::HASH_MAX;
use crate::replicas::Replicas;

/// Between looks whether a group is due.
const LOOK: Duration = Duration::from_secs(1);
/// A group whose replicas differ is compared again so soon, until they do not.
const AGAIN: Duration = Duration::from_mins(1);
/// Indexes tried before it is left for later: with many writes a replica may be past each.
const ATTEMPTS: u32 = 12;
/// How long writes are counted to see how far ahead an index must be to be asked for in time.
const COUNT: Duration = Duration::from_millis(100);
/// Longest wait for one answer, which may be that it takes longer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Questions in a row without any answer after which a replica counts as not there.
const SILENCES_MAX: u32 = 4;
/// Between them.
const SILENCE: Duration = Duration::from_millis(250);

/// Compares the groups led here: those asked about at once, and each `every` so often.
pub(crate) async fn watch(replicas: Arc<Replicas>, every: Duration) {
    let mut due = BTreeMap::<GroupId, Instant>::new();
    loop {
        let verifier = &replicas.verifier;
        // Either way it is time to look.
        let _ = tokio::time::timeout(LOOK, verifier.asked.notified()).await;
        let led: Vec<_> = replicas.cores().into_iter().filter(GroupCore::is_leader).collect();
        let groups: Vec<_> = led.iter().map(GroupCore::group).collect();
        verifier.forget_all_but(&groups);
        due.retain(|group, _| groups.contains(group));
        if !every.is_zero() {
            for group in &groups {
                // Spread, so that a start or an election does not bring all at once.
                due.entry(*group)
                    .or_insert_with(|| Instant::now() + every.mul_f64(fastrand::f64()));
            }
        }
        let asked = verifier.asked_about();
        let now = Instant::now();
        for core in led {
            let group = core.group();
            let is_due = due.get(&group).is_some_and(|at| *at <= now);
            if !is_due && !asked.contains(&group) {
                continue;
            }
            let differ = replicas.verify(&core).await;
            let soon = differ && (every.is_zero() || AGAIN < every);
            let next = if soon { AGAIN } else { every };
            if next.is_zero() {
                due.remove(&group);
            } else {
                due.insert(group, Instant::now() + next.mul_f64(0.9 + fastrand::f64() / 10.0));
            }
        }
    }
}

impl Replicas {
    /// Compares the replicas of a group led here. Whether they differ.
    async fn verify(&self, core: &GroupCore) -> bool {
        let group = core.group();
        self.verifier.begin(group);
        let result = self.compare(core).await;
        match &result {
            Ok(verified) => self.act_on(group, verified).await,
            Err(error) => tracing::info!(%group, "the copies were not compared: {error}"),
        }
        self.verifier.end(group, result.as_ref().ok());
        result.is_ok_and(|verified| verified.verdict() == Verdict::Differ)
    }

    async fn compare(&self, core: &GroupCore) -> Result<Verified, ShardError> {
        let mut ahead = 0;
        let mut attempt = 0;
        loop {
            attempt += 1;
            core.read_barrier().await?;
            let status = core.status();
            let index = status.last_index + ahead;
            let mut members = status.voters.clone();
            members.extend(status.learners.iter().filter(|one| !status.voters.contains(one)));
            let asked = members.into_iter().map(ReplicaId).map(|replica| async move {
                (replica, self.ask_hash((core.group(), replica), index).await)
            });
            let answers = join_all(asked).await;
            let is = |wanted: &Said| answers.iter().any(|(_, said)| said == wanted);
            let has_hash = answers.iter().any(|(_, said)| matches!(said, Said::Hash(_)));
            let again = is(&Said::Past) || (!has_hash && is(&Said::Behind));
            if !again || attempt == ATTEMPTS {
                return Ok(compare((index, now_ms()), &status.voters, &answers));
            }
            ahead = self.writes_in(core, COUNT).await * u64::from(attempt);
        }
    }

    /// How many entries come in a time, lately.
    async fn writes_in(&self, core: &GroupCore, time: Duration) -> u64 {
        let last = || core.metrics().last_log_index.unwrap_or(0);
        let before = last();
        tokio::time::sleep(time).await;
        last().saturating_sub(before)
    }

    /// Asks a replica for its hash until it has it.
    async fn ask_hash(&self, (group, replica): (GroupId, ReplicaId), index: u64) -> Said {
        let give_up = Instant::now() + HASH_MAX;
        let mut silences = 0;
        while Instant::now() < give_up {
            let body = request::Body::HashRows(HashRows { index });
            let error = match self.ask((group, replica), body).await {
                Ok(reply::Body::RowsHash(hash)) => {
                    silences = 0;
                    match said(hash) {
                        Some(said) => return said,
                        None => continue,
                    }
                }
                Ok(_) => return Said::Missing("answered something else".to_owned()),
                Err(ShardError::Invalid { .. }) => {
                    return Said::Missing("runs a version that cannot be asked".to_owned());
                }
                Err(error) => error,
            };
            silences += 1;
            if silences >= SILENCES_MAX {
                return Said::Missing(format!("cannot be asked: {error}"));
            }
            tokio::time::sleep(SILENCE).await;
        }
        Said::Missing("took too long".to_owned())
    }

    /// Asks a replica, which may be this node's.
    pub(super) async fn ask(
        &self,
        (group, replica): (GroupId, ReplicaId),
        body: request::Body,
    ) -> Result<reply::Body, ShardError> {
        let request =
            Request { group: group.0, target: replica.0, body: Some(body), ..Request::default() };
        let deadline = Instant::now() + ANSWER_MAX;
        let reply = if replica.node() == self.shared.node {
            self.handle(request).await
        } else {
            self.shared.links.call(replica.node(), request, deadline).await?
        };
        match reply {
            Reply { body: Some(reply::Body::Refusal(refusal)) } => Err(refusal.into()),
            Reply { body: Some(body) } => Ok(body),
            Reply { body: None } => Err(ShardError::Unknown { detail: "an empty reply".into() }),
        }
    }

    /// Says what was found, and has what differs from a majority replaced.
    async fn act_on(&self, group: GroupId, verified: &Verified) {
        let index = verified.index;
        if verified.verdict() != Verdict::Differ {
            let verdict = verified.verdict();
            tracing::debug!(%group, index, ?verdict, "compared the copies");
            return;
        }
        let (odd, words) = (odd(verified), in_words(verified));
        let kinds = verified.kinds.join(", ");
        tracing::error!(
            %group, index, kinds, "the copies of shard {group} differ at entry {index}: {words}"
        );
        if odd.is_empty() {
            tracing::error!(%group, "no majority of them agrees: an operator must decide");
            return;
        }
        if !is_of_one_version(verified) {
            tracing::error!(%group, "their nodes run different versions: nothing is replaced");
            return;
        }
        for replica in odd {
            let told = OddRows { index, hash: verified.majority.clone() };
            let told = self.ask((group, replica), request::Body::OddRows(told)).await;
            if let Err(error) = told {
                tracing::warn!(%group, %replica, "the copy that differs was not told: {error}");
            }
        }
    }
}

/// What a replica says, once it has its hash.
fn said(hash: RowsHash) -> Option<Said> {
    Some(match hash.state() {
        State::Pending => return None,
        State::Done => Said::Hash(hash),
        State::Past => Said::Past,
        State::Behind => Said::Behind,
        State::Stopped | State::Unspecified => Said::Missing("gave it up".to_owned()),
    })
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
