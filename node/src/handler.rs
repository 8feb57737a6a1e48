//! One request, from a link or from a router in this process, to one reply.
//!
//! Received fields are never trusted: a message without its parts, for another replica or for a
//! tenant that lives elsewhere is refused, and nothing is done.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use openraft::raft::{TransferLeaderRequest, VoteRequest};
use ranch_proto::schema::{
    self as wire, AppendReply, Charge, Command, JoinNode, MetaCommand, MetaResult, MetaStatus,
    ReadRequest, Reply, Request, append_reply, meta_command, read_request, reply, request,
};
use ranch_proto::value::SCROLL_MAX;
use ranch_proto::{GroupId, NodeId, ReplicaId, ShardError};
use ranch_raft::GroupCore;
use ranch_raft::convert::{
    entry_from_wire, log_id_from_wire, log_id_to_wire, vote_from_wire, vote_to_wire,
};
use ranch_raft::types::{TypeConfig, Vote};

use crate::accounts::CallLimits;
use crate::joining;
use crate::placement::why_not_leave;
use crate::replicas::{AppendRequest, Replicas};
use crate::room::{makes_room, meta_makes_room};

/// Longest a request is waited for that was sent on to a leader.
const RELAY_MAX: Duration = Duration::from_secs(2);

pub(crate) type Handled = Result<reply::Body, ShardError>;

/// What is in force for a tenant.
pub(crate) struct Admission {
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) limits: CallLimits,
    /// Which of the tenants that have had its id it is.
    life: u64,
    /// It comes from a backup, and not everything of it is here yet.
    restoring: bool,
}

/// Whose rows a request is about.
struct Asked<'a> {
    group: GroupId,
    tenant: &'a str,
    /// Which of the tenants that have had this id; 0 for the present one, which is all that an
    /// older router can say.
    life: u64,
    /// They are to be deleted for good.
    purge: bool,
}

impl Replicas {
    /// Carries out a request. A refusal is a reply, too.
    pub(crate) async fn handle(&self, request: Request) -> Reply {
        let body = if request.relay {
            Box::pin(self.answer_or_relay(request)).await
        } else {
            self.answer(request).await
        };
        let body = body.unwrap_or_else(|error| {
            self.refusals.count(&error);
            reply::Body::Refusal(error.into())
        });
        Reply { body: Some(body) }
    }

    /// As [`Self::answer`]; where another node leads, it is asked. A leader that is gone, or that
    /// this node does not hear either, is not waited for.
    async fn answer_or_relay(&self, request: Request) -> Handled {
        let refused = match self.answer(request.clone()).await {
            Err(ShardError::NotLeader { leader: Some(leader), term }) => (leader, term),
            answered => return answered,
        };
        let (leader, term) = refused;
        if leader == self.shared.node || !self.is_reached(leader) {
            return Err(ShardError::NotLeader { leader: Some(leader), term });
        }
        let wait = match request.deadline_ms {
            0 => RELAY_MAX,
            ms => RELAY_MAX.min(Duration::from_millis(ms.into())),
        };
        let request = Request { relay: false, ..request };
        let reply = self.shared.links.call(leader, request, Instant::now() + wait).await?;
        reply.body.ok_or_else(|| ShardError::Unknown { detail: "an empty reply".to_owned() })
    }

    async fn answer(&self, request: Request) -> Handled {
        let group = GroupId(request.group);
        let charge = request.charge;
        match request.body.ok_or_else(|| invalid("an empty request"))? {
            request::Body::Ping(_) => Ok(reply::Body::Pong(true)),
            request::Body::Tidings(heard) => Ok(reply::Body::Tidings(self.exchange(&heard))),
            request::Body::Confirm(_) => {
                let core = self.core(group).ok_or(ShardError::NoReplica)?;
                core.disk_barrier().await.map(|()| reply::Body::Pong(true))
            }
            request::Body::IsKeptTo(leader) => {
                let kept = self.is_kept_to(group, ReplicaId(request.target), &leader);
                Ok(reply::Body::IsKeptTo(kept))
            }
            request::Body::Command(command) => self.command(group, command, charge).await,
            request::Body::Read(read) => self.read((group, request.life), read, charge).await,
            request::Body::Tally(tally) => self.tally(group, &tally, charge),
            request::Body::Meta(command) => self.meta_command(command).await,
            request::Body::Append(append) => {
                self.append(group, ReplicaId(request.target), append).await
            }
            request::Body::Vote(vote) => self.vote(group, ReplicaId(request.target), vote).await,
            request::Body::Transfer(transfer) => {
                self.transfer(group, ReplicaId(request.target), transfer).await
            }
            request::Body::Members(_) => self.members(group).await,
            request::Body::HandOver(asked) => self.hand_over_on_request(group, asked).await,
            request::Body::HashRows(asked) => {
                self.hash_rows(group, ReplicaId(request.target), asked).await
            }
            request::Body::Verify(asked) => self.verify_on_request(group, &asked).await,
            request::Body::OddRows(told) => self.odd_rows(group, ReplicaId(request.target), &told),
            request::Body::MayLeave(node) => self.may_leave(NodeId(node)).await,
            request::Body::Copy(asked) => self.copy(group, asked).await,
        }
    }

    async fn command(
        &self,
        group: GroupId,
        mut command: Command,
        charge: Option<Charge>,
    ) -> Handled {
        let shard = self.shard(group).ok_or(ShardError::NoReplica)?;
        self.verifier.check(group)?;
        if !command.calls.is_empty() {
            return Err(invalid("calls are noted by the leader of a shard and nobody else"));
        }
        self.room.admit(group, || makes_room(&command))?;
        let life = command.life.get_or_insert_default();
        let asked = Asked { group, tenant: &command.tenant, life: life.number, purge: life.purge };
        let admission = self.admit_life(&asked)?;
        life.number = admission.life;
        if life.purge {
            // Nor are its last calls to count for whoever has the id next.
            self.accounts.books(group).forget(&command.tenant);
        }
        command.restoring = admission.restoring;
        // What was within its limits when it was backed up is let in again, whatever they are now.
        command.quota_bytes = admission.quota_bytes.filter(|_| !admission.restoring);
        let scroll_max =
            if admission.restoring { SCROLL_MAX } else { self.shared.scroll_max_bytes };
        command.scroll_max_bytes = Some(scroll_max);
        let Some(charge) = charge else {
            return shard.propose(command).await.map(reply::Body::Command);
        };
        let paid = self.charge(&shard, &command.tenant, admission.limits, charge)?;
        // Kept only where there is something to take back.
        let tenant = command.tenant.clone();
        let proposed = shard.propose(command).await.map(reply::Body::Command);
        self.unless_elsewhere(group, &tenant, paid, proposed)
    }

    async fn read(
        &self,
        (group, life): (GroupId, u64),
        read: ReadRequest,
        charge: Option<Charge>,
    ) -> Handled {
        let shard = self.shard(group).ok_or(ShardError::NoReplica)?;
        self.verifier.check(group)?;
        match &read.what {
            Some(read_request::What::Usages(_)) if read.tenant.is_empty() => {
                return self.usages(&shard, read).await;
            }
            Some(read_request::What::Usage(_)) => return self.usage(&shard, read).await,
            _ => {}
        }
        let tenant = read.tenant.clone();
        let asked = Asked { group, tenant: &tenant, life, purge: false };
        let Admission { limits, life, .. } = self.admit_life(&asked)?;
        if read.stale && !shard.has_life(&tenant, life) {
            // It may still have what was purged; others know better.
            return Err(behind("this replica is behind the tenant's beginning"));
        }
        let paid = match charge {
            Some(charge) => self.charge(&shard, &tenant, limits, charge)?,
            None => None,
        };
        let answered = shard.read(read).await.map(reply::Body::Read);
        // Had another tenant taken the id meanwhile, this could be its text.
        let still = self.admit_life(&Asked { life, ..asked });
        let answered = answered.and_then(|answer| still.map(|_| answer));
        self.unless_elsewhere(group, &tenant, paid, answered)
    }

    /// Checks that a tenant lives in this shard, and gives what is in force for it.
    pub(crate) fn admit(&self, group: GroupId, tenant: &str) -> Result<Admission, ShardError> {
        self.admit_life(&Asked { group, tenant, life: 0, purge: false })
    }

    /// As [`Self::admit`], where the tenant must also be the one meant.
    fn admit_life(&self, asked: &Asked<'_>) -> Result<Admission, ShardError> {
        let directory = self.shared.feed.directory().read();
        let Some(record) = directory.tenants.get(asked.tenant) else {
            // The router may have heard of it before this node did.
            return Err(behind("the tenant is not known here yet"));
        };
        if record.shard != asked.group.0 {
            return Err(invalid("the tenant does not live in this shard"));
        }
        let life = if asked.life == 0 { record.life } else { asked.life };
        match record.life.cmp(&life) {
            Ordering::Less => return Err(behind("the tenant's beginning is not known here yet")),
            Ordering::Greater => return Err(invalid("another tenant has this id now")),
            Ordering::Equal => {}
        }
        match (asked.purge, record.purging) {
            (true, false) => Err(behind("the tenant's end is not known here yet")),
            (false, true) => Err(invalid("the tenant is being deleted for good")),
            _ => {
                let limits = CallLimits::of(record);
                let restoring = record.restored.as_ref().is_some_and(|from| !from.whole);
                Ok(Admission { quota_bytes: record.quota_bytes, limits, life, restoring })
            }
        }
    }

    async fn meta_command(&self, command: MetaCommand) -> Handled {
        let meta = self.meta().ok_or(ShardError::NoReplica)?;
        self.verifier.check(GroupId::META)?;
        if let Some(meta_command::What::Join(join)) = &command.what {
            self.check_imposter(join)?;
        }
        if let Some(meta_command::What::RaiseVersion(raise)) = &command.what
            && let Some(refused) = self.check_raise(*raise)?
        {
            return Ok(reply::Body::Meta(refused));
        }
        if let Some(meta_command::What::RemoveNode(id)) = &command.what
            && meta.core().is_leader()
            && let Some(reason) = why_not_leave(&self.shared.feed.directory().read(), *id)
        {
            let status = MetaStatus::MetaExists.into();
            return Ok(reply::Body::Meta(MetaResult { status, reason, ..MetaResult::default() }));
        }
        self.room.admit(GroupId::META, || meta_makes_room(command.what.as_ref()))?;
        meta.propose(command).await.map(reply::Body::Meta)
    }

    /// Refuses a machine that comes with the id of another one that is there. (One that lost its
    /// data comes back at its own address.)
    fn check_imposter(&self, join: &JoinNode) -> Result<(), ShardError> {
        let Some(asked) = &join.node else { return Ok(()) };
        let id = NodeId(asked.id);
        let known = {
            let directory = self.shared.feed.directory().read();
            joining::check_version(&directory, join).map_err(|why| invalid(&why))?;
            directory.nodes.get(&id).cloned()
        };
        let Some(known) = known.filter(|known| known.boot_nonce != asked.boot_nonce) else {
            return Ok(());
        };
        if known.addr != asked.addr && self.is_reached(id) {
            return Err(invalid(&format!(
                "the id {id} is taken by node {}, which runs at {}: give the new machine an id of \
                 its own",
                known.name, known.addr
            )));
        }
        Ok(())
    }

    /// The members of a group led here.
    async fn members(&self, group: GroupId) -> Handled {
        let core = self.core(group).ok_or(ShardError::NoReplica)?;
        // Read before the members: what they say is then no older than it.
        let epoch = self.shared.feed.directory().read().epoch;
        core.disk_barrier().await?;
        let wire::GroupStatus { voters, learners, .. } = core.status();
        Ok(reply::Body::Members(wire::MembersReply { voters, learners, epoch }))
    }

    /// The replica a Raft message is for.
    pub(crate) fn target(
        &self,
        group: GroupId,
        target: ReplicaId,
    ) -> Result<GroupCore, ShardError> {
        let core = self.core(group).ok_or(ShardError::NoReplica)?;
        if core.replica() == target { Ok(core) } else { Err(ShardError::NoReplica) }
    }

    /// Whether the replica that is meant has voted for nobody after this leader. A node that has
    /// just started may yet find out that its votes were lost, and does not say.
    fn is_kept_to(&self, group: GroupId, target: ReplicaId, leader: &wire::Vote) -> bool {
        let kept = |core: GroupCore| core.promise().is_kept_to(&vote_from_wire(leader));
        !self.is_starting() && self.target(group, target).is_ok_and(kept)
    }

    async fn append(
        &self,
        group: GroupId,
        target: ReplicaId,
        append: wire::AppendRequest,
    ) -> Handled {
        use openraft::raft::AppendEntriesResponse as Response;

        let core = self.target(group, target)?;
        if !append.entries.is_empty() {
            self.room.takes_entries(append.needed)?;
        }
        let result = core.raft().append_entries(append_from_wire(append)?).await;
        let what = match result.map_err(stopped)? {
            Response::Success => append_reply::What::Success(true),
            Response::PartialSuccess(Some(id)) => append_reply::What::Partial(log_id_to_wire(&id)),
            // Not even the first entry was taken: as if what precedes it were missing.
            Response::PartialSuccess(None) | Response::Conflict => {
                append_reply::What::Conflict(true)
            }
            Response::HigherVote(vote) => append_reply::What::HigherVote(vote_to_wire(&vote)),
        };
        Ok(reply::Body::Append(AppendReply { what: Some(what) }))
    }

    async fn vote(&self, group: GroupId, target: ReplicaId, vote: wire::VoteRequest) -> Handled {
        let core = self.target(group, target)?;
        // A leader that hands over has agreed to be followed.
        if !vote.leadership_transfer && !self.may_vote() {
            return Err(behind("this node has just started and does not vote yet"));
        }
        let request = VoteRequest::<TypeConfig> {
            vote: required_vote(vote.vote.as_ref())?,
            last_log_id: vote.last.as_ref().map(log_id_from_wire),
            leadership_transfer: vote.leadership_transfer,
        };
        let result = if vote.pre_vote {
            core.raft().pre_vote(request).await
        } else {
            core.raft().vote(request).await
        };
        let response = result.map_err(stopped)?;
        Ok(reply::Body::Vote(wire::VoteReply {
            vote: Some(vote_to_wire(&response.vote)),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(log_id_to_wire),
        }))
    }

    async fn transfer(
        &self,
        group: GroupId,
        target: ReplicaId,
        transfer: wire::TransferRequest,
    ) -> Handled {
        let core = self.target(group, target)?;
        let from = required_vote(transfer.from.as_ref())?;
        let last = transfer.last.as_ref().map(log_id_from_wire);
        let request = TransferLeaderRequest::<TypeConfig>::new(from, transfer.to, last);
        let result = core.raft().handle_transfer_leader(request).await.map_err(stopped)?;
        let refused = result.err().map(|error| error.to_string()).unwrap_or_default();
        Ok(reply::Body::Transfer(wire::TransferReply { refused }))
    }
}

fn append_from_wire(append: wire::AppendRequest) -> Result<AppendRequest, ShardError> {
    let entries = append.entries.into_iter().map(entry_from_wire);
    let entries = entries.collect::<Result<Vec<_>, _>>();
    Ok(AppendRequest {
        vote: required_vote(append.vote.as_ref())?,
        prev_log_id: append.prev.as_ref().map(log_id_from_wire),
        entries: entries.map_err(|error| invalid(&error.to_string()))?,
        leader_commit: append.commit.as_ref().map(log_id_from_wire),
    })
}

fn required_vote(vote: Option<&wire::Vote>) -> Result<Vote, ShardError> {
    vote.map(vote_from_wire).ok_or_else(|| invalid("a message without its vote"))
}

fn stopped(error: impl std::fmt::Display) -> ShardError {
    ShardError::Unavailable { detail: format!("the replica has stopped: {error}") }
}

fn behind(detail: &str) -> ShardError {
    ShardError::Unavailable { detail: detail.to_owned() }
}

pub(crate) fn invalid(detail: &str) -> ShardError {
    ShardError::Invalid { detail: detail.to_owned() }
}
