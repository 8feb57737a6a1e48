//! [`Shards`] in memory, for tests only: three nodes over one state. Node 1 leads every group
//! until a test says otherwise, the others send callers to it, and a script of faults makes single
//! calls fail in ways a real ranch does.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use ranch_proto::directory::SharedDirectory;
use ranch_proto::schema::{
    Charge, GroupStatus, HandOverReply, NodeStatusReply, ReplicaProgress, Reply, Request, Verified,
    VerifiedReplica, VerifyRowsReply, meta_command, read_request, reply, request,
    verified::Verdict,
};
use ranch_proto::shards::Routes;
use ranch_proto::{NodeId, ReplicaId, ShardError, Shards};
use tokio::sync::watch;

use super::meta;
use super::state::State;

/// How one call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node says it does not lead, and who does.
    NotLeader(Option<u32>),
    /// The node has no such replica.
    NoReplica,
    /// The request never left.
    Unavailable,
    /// The request was carried out, and its answer lost.
    LostAnswer,
    /// The request was lost on its way, which the caller cannot know.
    LostRequest,
    /// Too much is waiting.
    Overloaded,
    /// The disk is full.
    DiskFull,
    /// No answer until the attempt's deadline.
    Hang,
}

/// One call as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub node: u32,
    pub group: u32,
    /// Empty for reads.
    pub request_id: Bytes,
    /// To be sent on to the leader.
    pub relay: bool,
}

pub struct MemoryShards {
    directory: SharedDirectory,
    routes: Arc<Routes>,
    epoch: watch::Sender<u64>,
    pub state: Mutex<State>,
    /// Faults of the calls to come, in order; after them all goes well.
    pub script: Mutex<VecDeque<Fault>>,
    pub calls: Mutex<Vec<Seen>>,
    pub leader: Mutex<Option<u32>>,
    pub down: Mutex<HashSet<u32>>,
    /// How many more pages of scrolls are given before none are; `None` for all.
    pub pages_until_silence: Mutex<Option<u32>>,
    pub uploads: Mutex<Uploads>,
}

/// What is to befall uploads and large texts.
#[derive(Default)]
pub struct Uploads {
    /// Answers to commits still to be lost.
    lose: u32,
    /// Uploads still to be forgotten before they are committed.
    forget: u32,
    /// A tenant, and the text its first scroll gets before the next part is read.
    change: Option<(String, String)>,
}

impl MemoryShards {
    pub fn new() -> Arc<Self> {
        let directory = meta::directory();
        let epoch = watch::Sender::new(directory.epoch);
        Arc::new(Self {
            directory: Arc::new(parking_lot::RwLock::new(directory)),
            routes: Arc::new(Routes::default()),
            epoch,
            state: Mutex::default(),
            script: Mutex::default(),
            calls: Mutex::default(),
            leader: Mutex::new(Some(1)),
            down: Mutex::default(),
            pages_until_silence: Mutex::default(),
            uploads: Mutex::default(),
        })
    }

    pub fn fail_next(&self, faults: &[Fault]) {
        self.script.lock().extend(faults);
    }

    pub fn take_calls(&self) -> Vec<Seen> {
        std::mem::take(&mut self.calls.lock())
    }

    /// Loses the answers to so many commits of uploads.
    pub fn lose_commits(&self, count: u32) {
        self.uploads.lock().lose = count;
    }

    /// Forgets so many uploads just before they are committed.
    pub fn forget_uploads(&self, count: u32) {
        self.uploads.lock().forget = count;
    }

    /// Gives a tenant's first scroll another text just before the next part of one is read.
    pub fn change_before_next_part(&self, tenant: &str, text: &str) {
        self.uploads.lock().change = Some((tenant.to_owned(), text.to_owned()));
    }

    /// Does what was asked for with a request on its way; says whether its answer is to be lost.
    fn befall(&self, body: &request::Body) -> bool {
        let mut uploads = self.uploads.lock();
        match body {
            request::Body::Command(command) if command.commit.is_some() => {
                if uploads.forget > 0 {
                    uploads.forget -= 1;
                    self.state.lock().staged.clear();
                }
                let lose = uploads.lose > 0;
                uploads.lose = uploads.lose.saturating_sub(1);
                lose
            }
            request::Body::Read(read) if matches!(read.what, Some(read_request::What::Part(_))) => {
                if let Some((tenant, text)) = uploads.change.take() {
                    self.state.lock().replace_first(&tenant, &text);
                }
                false
            }
            _ => false,
        }
    }

    /// Whether this is a page that is not to be given.
    fn is_silenced(&self, body: &request::Body) -> bool {
        let request::Body::Read(read) = body else { return false };
        if !matches!(read.what, Some(read_request::What::Scan(_))) {
            return false;
        }
        match &mut *self.pages_until_silence.lock() {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    /// Counts a charge as a leader does; a tenant with a limit may make that many calls, ever.
    fn charge(&self, charge: Option<Charge>, body: &request::Body) -> Result<(), ShardError> {
        let Some(charge) = charge else { return Ok(()) };
        let tenant = match body {
            request::Body::Command(command) => &command.tenant,
            request::Body::Read(read) => &read.tenant,
            request::Body::Tally(tally) => &tally.tenants[0].tenant,
            other => panic!("{other:?} was charged"),
        };
        let directory = self.directory.read();
        let record = &directory.tenants[tenant];
        let mut state = self.state.lock();
        let called = state.called(tenant);
        if record.calls_per_day.is_some_and(|most| called >= most) {
            return Err(ShardError::CallsExhausted { retry_after_ms: 3_600_000 });
        }
        if record.rate_per_s.is_some_and(|most| called as f64 >= most) {
            return Err(ShardError::RateLimited { retry_after_ms: 1_200 });
        }
        state.count(tenant, charge.method(), 1);
        Ok(())
    }

    fn carry_out(
        &self,
        (node, relay): (NodeId, bool),
        (group, charge): (u32, Option<Charge>),
        body: request::Body,
    ) -> Result<reply::Body, ShardError> {
        let leader = *self.leader.lock();
        let stale = matches!(&body, request::Body::Read(read) if read.stale);
        let reached = relay && leader.is_some();
        if !reached && leader != Some(node.0) && !stale {
            return Err(ShardError::NotLeader { leader: leader.map(NodeId), term: 1 });
        }
        self.charge(charge, &body)?;
        Ok(match body {
            request::Body::Tally(tally) => {
                self.state.lock().tally(&tally);
                reply::Body::Pong(true)
            }
            request::Body::Command(command) => {
                let directory = self.directory.read();
                let quota = directory.tenants.get(&command.tenant).unwrap().quota_bytes;
                reply::Body::Command(self.state.lock().apply(&command, quota))
            }
            request::Body::Read(read) => reply::Body::Read(self.state.lock().read(&read)),
            request::Body::Meta(command) => {
                let mut directory = self.directory.write();
                if let Some(meta_command::What::PurgeTenant(id)) = &command.what {
                    self.state.lock().purge(id);
                }
                let result = meta::decide(&mut directory, command);
                self.epoch.send_replace(directory.epoch);
                reply::Body::Meta(result)
            }
            request::Body::HandOver(asked) => {
                let refused = if asked.to == 3 { "node 3 is 9 entries behind" } else { "" };
                let leader = if asked.to == 0 { 2 } else { asked.to };
                reply::Body::HandOver(HandOverReply { leader, refused: refused.to_owned() })
            }
            // Of shard 2 it takes as long as anybody asks.
            request::Body::Verify(_) if group == 2 => {
                reply::Body::Verify(VerifyRowsReply::default())
            }
            request::Body::Verify(_) => reply::Body::Verify(verified()),
            other => panic!("a router does not send {other:?}"),
        })
    }
}

/// Three copies that are alike.
fn verified() -> VerifyRowsReply {
    let hash = vec![0xAB; 16];
    let replica = |node| VerifiedReplica {
        replica: ReplicaId::new(NodeId(node), 1).0,
        hash: hash.clone().into(),
        ..VerifiedReplica::default()
    };
    let verified = Verified {
        verdict: Verdict::Alike.into(),
        index: 10,
        replicas: (1..=3).map(replica).collect(),
        majority: hash.clone().into(),
        ..Verified::default()
    };
    VerifyRowsReply { verified: Some(verified) }
}

impl Shards for MemoryShards {
    async fn call(
        &self,
        node: NodeId,
        request: Request,
        deadline: Instant,
    ) -> Result<Reply, ShardError> {
        assert!(request.deadline_ms > 0, "every attempt has a deadline");
        let Request { charge, relay, group, body, .. } = request;
        let (at, body) = ((node, relay), body.unwrap());
        let request_id = match &body {
            request::Body::Command(command) => command.request_id.clone(),
            request::Body::Meta(command) => command.request_id.clone(),
            _ => Bytes::new(),
        };
        self.calls.lock().push(Seen { node: node.0, group, request_id, relay });
        let detail = || "scripted".to_owned();
        if self.is_silenced(&body) {
            return Err(ShardError::Unavailable { detail: detail() });
        }
        let fault = self.script.lock().pop_front();
        match fault {
            None => {}
            Some(Fault::NotLeader(leader)) => {
                return Err(ShardError::NotLeader { leader: leader.map(NodeId), term: 2 });
            }
            Some(Fault::NoReplica) => return Err(ShardError::NoReplica),
            Some(Fault::Unavailable) => return Err(ShardError::Unavailable { detail: detail() }),
            Some(Fault::LostRequest) => return Err(ShardError::Unknown { detail: detail() }),
            Some(Fault::LostAnswer) => {
                self.carry_out(at, (group, charge), body)?;
                return Err(ShardError::Unknown { detail: detail() });
            }
            Some(Fault::Overloaded) => return Err(ShardError::Overloaded { detail: detail() }),
            Some(Fault::DiskFull) => return Err(ShardError::DiskFull { node: NodeId(2) }),
            Some(Fault::Hang) => {
                tokio::time::sleep_until(deadline.into()).await;
                return Err(ShardError::Unknown { detail: detail() });
            }
        }
        let lost = self.befall(&body);
        let body = Some(self.carry_out(at, (group, charge), body)?);
        if lost { Err(ShardError::Unknown { detail: detail() }) } else { Ok(Reply { body }) }
    }

    async fn node_status(&self, node: NodeId, _: Instant) -> Result<NodeStatusReply, ShardError> {
        if self.down.lock().contains(&node.0) {
            return Err(ShardError::Unavailable { detail: "down".to_owned() });
        }
        let replica = |node| ReplicaId::new(NodeId(node), 1).0;
        let leads = *self.leader.lock() == Some(node.0);
        let matched = |node| ReplicaProgress { replica: replica(node), matched: 10 };
        let groups = (0..=2).map(|group| GroupStatus {
            group,
            replica: replica(node.0),
            state: if leads { "leader" } else { "follower" }.to_owned(),
            term: 1,
            last_index: 10,
            voters: (1..=3).map(replica).collect(),
            progress: if leads { (1..=3).map(matched).collect() } else { Vec::new() },
            ..GroupStatus::default()
        });
        Ok(NodeStatusReply {
            node: node.0,
            pid: 100 + node.0,
            version: "0.1.0".to_owned(),
            groups: groups.collect(),
            ..NodeStatusReply::default()
        })
    }

    fn directory(&self) -> &SharedDirectory {
        &self.directory
    }

    fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    fn epochs(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }
}
