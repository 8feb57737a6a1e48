//! A client of the test ranch: what a router does, in few lines. It enters the ranch at one node
//! and follows the leaders from there, trying a request under one id until its deadline.

use std::sync::Weak;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ranch_node::LocalShards;
use ranch_proto::schema::{
    Charge, Command, GetScroll, MetaCommand, MetaStatus, Op, OpStatus, PutTenant, ReadRequest,
    Request, TenantRecord, Vote, meta_command, op, read_reply, read_request, record, reply,
    request,
};
use ranch_proto::{Coordinate, GroupId, NodeId, ReplicaId, RequestId, ShardError, Shards as _};
use tokio::runtime::Handle;

/// One attempt; then another node is asked.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Between two attempts.
const PACE: Duration = Duration::from_millis(20);
/// The phext all tests write to.
const PHEXT: &str = "herd";

/// A tenant and the shard it lives on.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: String,
    pub group: GroupId,
}

/// Cheap to clone. Keeps nothing of its node alive.
#[derive(Clone)]
pub struct Client {
    runtime: Handle,
    shards: Weak<LocalShards>,
}

type Answer = Result<reply::Body, ShardError>;

impl Client {
    pub fn new(runtime: Handle, shards: Weak<LocalShards>) -> Self {
        Self { runtime, shards }
    }

    /// Asks one node once.
    pub async fn ask(
        &self,
        node: NodeId,
        group: GroupId,
        body: request::Body,
        limit: Duration,
    ) -> Answer {
        let body = Some(body);
        self.send(node, Request { group: group.0, body, ..Request::default() }, limit).await
    }

    /// Asks one node once, and has it count a call.
    pub async fn charge(
        &self,
        node: NodeId,
        group: GroupId,
        body: request::Body,
        charge: Option<Charge>,
    ) -> Answer {
        let body = Some(body);
        let request = Request { group: group.0, body, charge, ..Request::default() };
        self.send(node, request, ATTEMPT).await
    }

    async fn send(&self, node: NodeId, request: Request, limit: Duration) -> Answer {
        let shards = self.shards.upgrade().ok_or_else(gone)?;
        let request = Request { deadline_ms: limit.as_millis() as u32, ..request };
        let deadline = Instant::now() + limit;
        let asked = self.runtime.spawn(async move { shards.call(node, request, deadline).await });
        let reply = asked.await.unwrap_or_else(|_| {
            Err(ShardError::Unknown { detail: "the node was killed".to_owned() })
        })?;
        Ok(reply.body.expect("a reply has a body"))
    }

    /// Asks the leader, whoever that is by then, until `limit` has passed.
    pub async fn call(&self, group: GroupId, body: request::Body, limit: Duration) -> Answer {
        let end = Instant::now() + limit;
        for turn in 0.. {
            let node = self.target(group, turn).ok_or_else(gone)?;
            let error = match self.ask(node, group, body.clone(), ATTEMPT).await {
                Err(error) => error,
                answer => return answer,
            };
            if Instant::now() >= end || matches!(error, ShardError::Invalid { .. }) {
                return Err(error);
            }
            self.learn(group, node, &error);
            tokio::time::sleep(PACE).await;
        }
        unreachable!("turns do not end")
    }

    fn target(&self, group: GroupId, turn: usize) -> Option<NodeId> {
        let shards = self.shards.upgrade()?;
        let nodes = shards.directory().read().nodes_of(group);
        let leader = shards.routes().leader(group);
        leader.or_else(|| nodes.get(turn % nodes.len().max(1)).copied())
    }

    fn learn(&self, group: GroupId, node: NodeId, error: &ShardError) {
        let Some(shards) = self.shards.upgrade() else { return };
        shards.routes().doubt(group, node);
        if let ShardError::NotLeader { leader: Some(leader), term } = error {
            shards.routes().learn(group, *term, Some(*leader));
        }
    }

    /// Adds a tenant and says where it lives.
    pub async fn add_tenant(&self, id: &str, limit: Duration) -> Tenant {
        let tenant = TenantRecord { id: id.to_owned(), enabled: true, ..TenantRecord::default() };
        self.add(tenant, limit).await
    }

    /// Adds a tenant with so many calls per day.
    pub async fn add_limited_tenant(&self, id: &str, calls: u64, limit: Duration) -> Tenant {
        let (id, calls_per_day) = (id.to_owned(), Some(calls));
        let tenant = TenantRecord { id, enabled: true, calls_per_day, ..TenantRecord::default() };
        self.add(tenant, limit).await
    }

    async fn add(&self, tenant: TenantRecord, limit: Duration) -> Tenant {
        let put = PutTenant { tenant: Some(tenant), keys: Vec::new() };
        let command = MetaCommand {
            request_id: request_id(RequestId::random()),
            what: Some(meta_command::What::AddTenant(put)),
        };
        let body = request::Body::Meta(command);
        let answer = self.call(GroupId::META, body, limit).await.expect("the tenant is added");
        let reply::Body::Meta(result) = answer else { panic!("not a meta result: {answer:?}") };
        assert_eq!(result.status, i32::from(MetaStatus::MetaOk), "{}", result.reason);
        let Some(record::What::Tenant(tenant)) = result.record.and_then(|record| record.what)
        else {
            panic!("not a tenant's record");
        };
        Tenant { id: tenant.id, group: GroupId(tenant.shard) }
    }

    /// Appends to the tenant's scroll at the origin.
    pub async fn append(
        &self,
        tenant: &Tenant,
        id: RequestId,
        text: &str,
        limit: Duration,
    ) -> Result<(), ShardError> {
        applied(self.call(tenant.group, append(tenant, id, text), limit).await?);
        Ok(())
    }

    /// Appends as [`Client::append`] does, but at this node only, once.
    pub async fn append_at(
        &self,
        node: NodeId,
        tenant: &Tenant,
        (id, text): (RequestId, &str),
        limit: Duration,
    ) -> Result<(), ShardError> {
        applied(self.ask(node, tenant.group, append(tenant, id, text), limit).await?);
        Ok(())
    }

    /// Asks a replica once whether it has followed nobody since this leader.
    pub async fn is_kept_to(
        &self,
        at: ReplicaId,
        group: GroupId,
        leader: Vote,
    ) -> Result<bool, ShardError> {
        let from = leader.replica;
        let body = Some(request::Body::IsKeptTo(leader));
        let request = Request { group: group.0, from, target: at.0, body, ..Request::default() };
        match self.send(at.node(), request, ATTEMPT).await? {
            reply::Body::IsKeptTo(kept) => Ok(kept),
            other => panic!("no answer to that: {other:?}"),
        }
    }

    /// Reads the tenant's scroll at the origin, linearizably.
    pub async fn read(&self, tenant: &Tenant, limit: Duration) -> Result<String, ShardError> {
        Ok(text_of(self.call(tenant.group, read(tenant, false), limit).await?))
    }

    /// Reads at this node only, once.
    pub async fn read_at(
        &self,
        node: NodeId,
        tenant: &Tenant,
        stale: bool,
        limit: Duration,
    ) -> Result<String, ShardError> {
        Ok(text_of(self.ask(node, tenant.group, read(tenant, stale), limit).await?))
    }
}

fn gone() -> ShardError {
    ShardError::Unavailable { detail: "the client's node is gone".to_owned() }
}

fn request_id(id: RequestId) -> Bytes {
    id.0.to_vec().into()
}

fn append(tenant: &Tenant, id: RequestId, text: &str) -> request::Body {
    let op = Op {
        kind: op::Kind::Append.into(),
        phext: PHEXT.to_owned(),
        coordinate: Coordinate::ORIGIN.to_key().into(),
        text: text.as_bytes().to_vec().into(),
        ..Op::default()
    };
    request::Body::Command(Command {
        request_id: request_id(id),
        tenant: tenant.id.clone(),
        ops: vec![op],
        ..Command::default()
    })
}

fn read(tenant: &Tenant, stale: bool) -> request::Body {
    let coordinate = Coordinate::ORIGIN.to_key().into();
    let get = GetScroll { phext: PHEXT.to_owned(), coordinate };
    let what = Some(read_request::What::Get(get));
    request::Body::Read(ReadRequest { tenant: tenant.id.clone(), stale, what })
}

fn applied(answer: reply::Body) {
    let reply::Body::Command(result) = answer else { panic!("not a result: {answer:?}") };
    let statuses: Vec<i32> = result.results.iter().map(|result| result.status).collect();
    assert_eq!(statuses, [i32::from(OpStatus::OpOk)]);
}

fn text_of(answer: reply::Body) -> String {
    let reply::Body::Read(read) = answer else { panic!("not a reading: {answer:?}") };
    let Some(read_reply::What::Get(get)) = read.what else { panic!("not a scroll: {read:?}") };
    let text = get.scroll.and_then(|scroll| scroll.text).unwrap_or_default();
    String::from_utf8(text.to_vec()).expect("scrolls are UTF-8")
}
