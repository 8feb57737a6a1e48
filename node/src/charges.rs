//! What requests say about calls: charges to be admitted and counted, tallies of calls that were
//! answered elsewhere, and questions about what has been counted.

use ranch_proto::calls::day_of;
use ranch_proto::schema::{CallMethod, Charge, ReadReply, ReadRequest, Tally, read_reply, reply};
use ranch_proto::{GroupId, ShardError};
use ranch_raft::ShardGroup;

use crate::accounts::{CallLimits, now_ms};
use crate::handler::{Handled, invalid};
use crate::replicas::Replicas;

impl Replicas {
    /// Counts a call against the tenant's limits if this node leads the shard, and says under
    /// which method. Elsewhere nothing is counted: the request itself will be refused.
    pub(crate) fn charge(
        &self,
        shard: &ShardGroup,
        tenant: &str,
        limits: CallLimits,
        charge: Charge,
    ) -> Result<Option<CallMethod>, ShardError> {
        if !shard.core().is_leader() {
            return Ok(None);
        }
        let (method, now_ms) = (charge.method(), now_ms());
        let noted_today = || match shard.reader().usage(tenant) {
            Ok(usage) if usage.calls_day == day_of(now_ms) => usage.calls_today,
            // A row that cannot be read is no reason to refuse: the read or write itself will say.
            Ok(_) | Err(_) => 0,
        };
        let call = (shard.core().group(), tenant, method);
        self.accounts.charge(call, limits, now_ms, noted_today)?;
        Ok(Some(method))
    }

    /// Takes a charge back when the request was not carried out here, since it will be charged
    /// where it is.
    pub(crate) fn unless_elsewhere(
        &self,
        group: GroupId,
        tenant: &str,
        paid: Option<CallMethod>,
        handled: Handled,
    ) -> Handled {
        if let (Some(method), Err(error)) = (paid, &handled)
            && matches!(error, ShardError::NotLeader { .. } | ShardError::Unavailable { .. })
        {
            self.accounts.books(group).refund(tenant, method);
        }
        handled
    }

    /// Takes in calls answered without this shard; with a charge, first admits the one it is for.
    pub(crate) fn tally(&self, group: GroupId, tally: &Tally, charge: Option<Charge>) -> Handled {
        let shard = self.shard(group).ok_or(ShardError::NoReplica)?;
        if !shard.core().is_leader() {
            let (term, leader) = shard.core().leader();
            let leader = leader.filter(|leader| *leader != self.shared.node);
            return Err(ShardError::NotLeader { leader, term });
        }
        if let Some(charge) = charge {
            let Some(calls) = tally.tenants.first() else {
                return Err(invalid("a charge for no tenant"));
            };
            let admission = self.admit(group, &calls.tenant)?;
            self.charge(&shard, &calls.tenant, admission.limits, charge)?;
        }
        let books = self.accounts.books(group);
        // Calls of tenants that are gone, or never were here, count for nobody.
        let known = tally.tenants.iter().filter(|calls| self.admit(group, &calls.tenant).is_ok());
        known.for_each(|calls| books.tally(calls));
        Ok(reply::Body::Pong(true))
    }

    /// A tenant's usage, with the calls that are not noted yet.
    pub(crate) async fn usage(&self, shard: &ShardGroup, read: ReadRequest) -> Handled {
        let group = shard.core().group();
        self.admit(group, &read.tenant)?;
        let tenant = read.tenant.clone();
        let books = self.accounts.books(group);
        let _gate = books.gate.lock().await;
        let mut reply = shard.read(read).await?;
        if let Some(read_reply::What::Usage(usage)) = &mut reply.what {
            books.add_pending(&tenant, now_ms(), usage);
        }
        Ok(reply::Body::Read(reply))
    }

    /// A page of all tenants' usage, likewise.
    pub(crate) async fn usages(&self, shard: &ShardGroup, read: ReadRequest) -> Handled {
        let books = self.accounts.books(shard.core().group());
        let _gate = books.gate.lock().await;
        let mut reply: ReadReply = shard.read(read).await?;
        if let Some(read_reply::What::Usages(page)) = &mut reply.what {
            let now_ms = now_ms();
            for row in &mut page.tenants {
                let usage = row.usage.get_or_insert_default();
                books.add_pending(&row.tenant, now_ms, usage);
            }
        }
        Ok(reply::Body::Read(reply))
    }
}
