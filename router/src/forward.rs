//! The way of a request to the leader of its group, through elections, broken links and wrong
//! guesses, under one request id.
//!
//! One attempt at a time. What an attempt's failure means is decided by [`Chase`], which is pure;
//! this file does the waiting and sending. A client sees nothing of an election: a failed attempt
//! goes to another replica at once, later ones after a short, growing, jittered wait, until the
//! request's deadline. Where the leader is there and only the way to it is cut, a node that reaches
//! it sends the request on. A write that once got no answer stays doubtful whatever is heard later,
//! and when time runs out it is reported so, never as a plain failure.

mod chase;
mod copy;
mod error;
mod staged;

pub use error::ForwardError;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use ranch_proto::schema::{
    Charge, Command, CommandResult, HandOver, HandOverReply, MetaCommand, MetaResult, ReadReply,
    ReadRequest, Reply, Request, Tally, TenantCalls, TenantLife, TenantRecord, Verified,
    VerifyRows, reply, request,
};
use ranch_proto::stage::COMMAND_BYTES_MAX;
use ranch_proto::{GroupId, NodeId, ShardError, Shards};

use chase::{Chase, Hint, Next};

use crate::charge;
use crate::metrics::Metrics;

/// Longest the first attempt may take, so that a leader that hangs or is cut off is left for its
/// successor; an election is over by then.
const FIRST_ATTEMPT_MAX: Duration = Duration::from_secs(1);
/// Longest a later attempt may take: longer, lest a shard that is only slow get ever more to do.
const ATTEMPT_MAX: Duration = Duration::from_millis(2_500);

/// Longest a call waits to be counted where nothing else is asked of its shard.
const CHARGE_MAX: Duration = Duration::from_secs(1);

/// What a request does, which decides where it may go and what silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// Must reach the leader; silence leaves the outcome open.
    Write,
    /// Must reach the leader; may be repeated freely.
    Read,
    /// Any replica will do.
    StaleRead,
}

/// Where a tenant's scrolls are, and which of the tenants that have had its id it is. The latter
/// goes with every request, so that none reaches a tenant that has the id only since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Its shard.
    pub shard: GroupId,
    /// As in its record.
    pub life: u64,
}

impl From<&TenantRecord> for Home {
    fn from(tenant: &TenantRecord) -> Self {
        Self { shard: GroupId(tenant.shard), life: tenant.life }
    }
}

/// Sends requests to groups.
#[derive(Debug)]
pub struct Forward<S> {
    shards: Arc<S>,
    deadline: Duration,
    /// Spreads first guesses and stale reads over replicas.
    turn: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl<S: Shards> Forward<S> {
    /// A way to the shards that tries each request for at most `deadline`.
    pub fn new(shards: Arc<S>, deadline: Duration, metrics: Arc<Metrics>) -> Self {
        Self { shards, deadline, turn: AtomicUsize::new(0), metrics }
    }

    /// Carries out a tenant's command on its shard, once, however often it has to be sent.
    ///
    /// # Errors
    /// [`ForwardError::OutcomeUnknown`] when it may or may not take effect; after every other
    /// error nothing was done.
    pub async fn command(
        &self,
        home: Home,
        mut command: Command,
    ) -> Result<CommandResult, ForwardError> {
        command.life = Some(TenantLife { number: home.life, purge: false });
        if command.encoded_len() > COMMAND_BYTES_MAX {
            // Rare and long, so boxed: the future of a plain write stays small.
            return Box::pin(self.staged(home, command)).await;
        }
        let body = request::Body::Command(command);
        match self.send(home, body, Nature::Write, self.deadline).await? {
            reply::Body::Command(result) => Ok(result),
            _ => Err(garbled(home.shard)),
        }
    }

    /// Reads from a shard: from its leader, or from any replica when the request says stale.
    ///
    /// # Errors
    /// Any but [`ForwardError::OutcomeUnknown`].
    pub async fn read(&self, home: Home, read: ReadRequest) -> Result<ReadReply, ForwardError> {
        let nature = if read.stale { Nature::StaleRead } else { Nature::Read };
        if read.stale
            && let Some(charge) = charge::take_if_limited()
        {
            match Box::pin(self.charge(home.shard, &read.tenant, charge)).await {
                Err(error) if error.is_over_limit() => return Err(error),
                // Without a leader a stale read is what is left.
                Err(_) => charge::give_back(),
                Ok(()) => {}
            }
        }
        match self.send(home, request::Body::Read(read), nature, self.deadline).await? {
            reply::Body::Read(reply) => Ok(reply),
            _ => Err(garbled(home.shard)),
        }
    }

    /// Carries out a command of the meta group.
    ///
    /// # Errors
    /// As [`Forward::command`].
    pub async fn meta(&self, command: MetaCommand) -> Result<MetaResult, ForwardError> {
        let body = request::Body::Meta(command);
        let meta = Home { shard: GroupId::META, life: 0 };
        match self.send(meta, body, Nature::Write, self.deadline).await? {
            reply::Body::Meta(result) => Ok(result),
            _ => Err(garbled(GroupId::META)),
        }
    }

    /// Has the leader of a group let another node lead: `to`, or whichever can.
    ///
    /// # Errors
    /// Any but [`ForwardError::OutcomeUnknown`].
    pub async fn hand_over(
        &self,
        group: GroupId,
        to: Option<NodeId>,
    ) -> Result<HandOverReply, ForwardError> {
        let asked = HandOver { to: to.map_or(0, |node| node.0) };
        let request = request(group, request::Body::HandOver(asked));
        match self.chase(request, Nature::Read, self.deadline).await? {
            reply::Body::HandOver(reply) => Ok(reply),
            _ => Err(garbled(group)),
        }
    }

    /// Has the leader of a group compare the rows of its replicas. `None` while that is under way:
    /// to be asked again, under the same id.
    ///
    /// # Errors
    /// Any but [`ForwardError::OutcomeUnknown`].
    pub async fn verify(&self, group: GroupId, id: u64) -> Result<Option<Verified>, ForwardError> {
        let request = request(group, request::Body::Verify(VerifyRows { id }));
        match self.chase(request, Nature::Read, self.deadline).await? {
            reply::Body::Verify(reply) => Ok(reply.verified),
            _ => Err(garbled(group)),
        }
    }

    /// Has the leader count a call that needs nothing else of it.
    ///
    /// # Errors
    /// [`ForwardError::RateLimited`] and [`ForwardError::CallsExhausted`] when the tenant may not
    /// make it, others when it was not counted.
    pub async fn charge(
        &self,
        shard: GroupId,
        tenant: &str,
        charge: Charge,
    ) -> Result<(), ForwardError> {
        let calls = TenantCalls { tenant: tenant.to_owned(), ..TenantCalls::default() };
        let body = request::Body::Tally(Tally { tenants: vec![calls] });
        let request = Request { charge: Some(charge), ..request(shard, body) };
        self.chase(request, Nature::Read, self.deadline.min(CHARGE_MAX)).await.map(drop)
    }

    /// Has the leader count calls that were answered without it.
    ///
    /// # Errors
    /// [`ForwardError::OutcomeUnknown`] when they may have been counted; after every other error
    /// they were not.
    pub async fn tally(
        &self,
        shard: GroupId,
        tenants: Vec<TenantCalls>,
    ) -> Result<(), ForwardError> {
        let request = request(shard, request::Body::Tally(Tally { tenants }));
        let mut once = Chase::new(true);
        let asked = self.choose(shard, Nature::Write, &mut once);
        let node = asked.ok_or(ForwardError::Unavailable)?.node;
        let until = Instant::now() + CHARGE_MAX;
        let request = Request { deadline_ms: CHARGE_MAX.as_millis() as u32, ..request };
        match body_of(self.shards.call(node, request, until).await) {
            Ok(_) => Ok(()),
            Err(error) => {
                self.note(shard, node, &error);
                once.after(Some(node), &error);
                Err(once.out_of_time())
            }
        }
    }

    async fn send(
        &self,
        Home { shard: group, life }: Home,
        body: request::Body,
        nature: Nature,
        limit: Duration,
    ) -> Result<reply::Body, ForwardError> {
        let at_a_leader = group != GroupId::META && nature != Nature::StaleRead;
        let charge = if at_a_leader { charge::take() } else { None };
        self.chase(Request { charge, life, ..request(group, body) }, nature, limit).await
    }

    async fn chase(
        &self,
        mut request: Request,
        nature: Nature,
        limit: Duration,
    ) -> Result<reply::Body, ForwardError> {
        let deadline = Instant::now() + limit;
        let group = GroupId(request.group);
        let mut chase = Chase::new(nature == Nature::Write);
        let mut longest = FIRST_ATTEMPT_MAX;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(chase.out_of_time());
            }
            let until = deadline.min(now + longest);
            longest = ATTEMPT_MAX;
            // 0 would mean no limit.
            request.deadline_ms = ((until - now).as_millis() as u32).max(1);
            let asked = self.choose(group, nature, &mut chase);
            request.relay = asked.is_some_and(|hint| hint.relay);
            let asked = asked.map(|hint| hint.node);
            let error = match asked {
                Some(node) => match body_of(self.shards.call(node, request.clone(), until).await) {
                    Ok(body) => return Ok(body),
                    Err(error) => {
                        self.note(group, node, &error);
                        error
                    }
                },
                None => ShardError::Unavailable { detail: "no replica is known".to_owned() },
            };
            if matches!(error, ShardError::Unknown { .. }) {
                // It may have been counted: once is enough, and it was admitted.
                request.charge = None;
            }
            let next = chase.after(asked, &error);
            if !matches!(next, Next::Stop(_)) {
                self.metrics.retry(&error);
            }
            match next {
                Next::Stop(verdict) => {
                    tracing::debug!(%group, %error, "a request was refused");
                    return Err(verdict);
                }
                Next::AtOnce => {}
                Next::AfterWait(wait) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    tokio::time::sleep(jittered(wait).min(left)).await;
                }
            }
        }
    }

    /// Whom to ask next: a leader just named, or a node that knows a way to it; the leader as last
    /// heard unless it has just failed; or else the replicas in turn.
    fn choose(&self, group: GroupId, nature: Nature, chase: &mut Chase) -> Option<Hint> {
        let directly = |node| Hint { node, relay: false };
        if nature != Nature::StaleRead {
            if let Some(hint) = chase.take_hint() {
                return Some(hint);
            }
            if let Some(leader) = self.shards.routes().leader(group)
                && !chase.has_failed(leader)
            {
                return Some(directly(leader));
            }
        }
        let nodes = self.shards.directory().read().nodes_of(group);
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..nodes.len()).map(|step| nodes[(start + step) % nodes.len()]);
        let mut others = in_turn.clone().filter(|node| !chase.has_failed(*node));
        let next = others.next();
        next.or_else(|| in_turn.clone().next()).map(directly)
    }

    /// Keeps the shared knowledge of leaders in step with an answer.
    fn note(&self, group: GroupId, node: NodeId, error: &ShardError) {
        let routes = self.shards.routes();
        match error {
            ShardError::NotLeader { leader: Some(leader), term } => {
                if *leader != node {
                    routes.doubt(group, node);
                }
                routes.learn(group, *term, Some(*leader));
            }
            ShardError::NotLeader { leader: None, .. }
            | ShardError::NoReplica
            | ShardError::Unavailable { .. }
            | ShardError::Unknown { .. } => routes.doubt(group, node),
            ShardError::Overloaded { .. }
            | ShardError::DiskFull { .. }
            | ShardError::Invalid { .. }
            | ShardError::RateLimited { .. }
            | ShardError::CallsExhausted { .. } => {}
        }
    }
}

fn request(group: GroupId, body: request::Body) -> Request {
    Request { group: group.0, body: Some(body), ..Request::default() }
}

/// What an attempt brought: a reply's body, or the error it stands for.
fn body_of(outcome: Result<Reply, ShardError>) -> Result<reply::Body, ShardError> {
    match outcome?.body {
        Some(reply::Body::Refusal(refusal)) => Err(refusal.into()),
        Some(body) => Ok(body),
        None => Err(ShardError::Unknown { detail: "an empty reply".to_owned() }),
    }
}

fn garbled(group: GroupId) -> ForwardError {
    tracing::error!(%group, "a reply was of another kind than its request");
    ForwardError::Garbled
}

/// Between half of `wait` and all of it, so that clients do not come back all at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + fastrand::f64() / 2.0)
}
