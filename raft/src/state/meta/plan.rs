//! What a command means for the directory: records to put or remove, or why not. Pure functions
//! of the directory, the command and its stamp.

mod keys;
mod leaving;
mod moves;
mod nodes;
mod restore;
mod tenants;
mod versions;

use ranch_proto::directory::Directory;
use ranch_proto::ids::GroupId;
use ranch_proto::placement::ShardRing;
use ranch_proto::schema::{MetaStatus, Record, ShardRecord, meta_command, record::What};

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Records to put in force or take out, in order; none when all is as wanted already.
    pub(super) records: Vec<Record>,
    /// The record the command was about, as it then stands.
    pub(super) answer: Option<Record>,
}

/// Why nothing is done.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) status: MetaStatus,
    pub(super) reason: String,
}

impl Refused {
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self { status: MetaStatus::MetaInvalid, reason: reason.into() }
    }

    fn exists(reason: impl Into<String>) -> Self {
        Self { status: MetaStatus::MetaExists, reason: reason.into() }
    }

    fn not_found(reason: impl Into<String>) -> Self {
        Self { status: MetaStatus::MetaNotFound, reason: reason.into() }
    }
}

/// Judges a command stamped `stamp_ms`; `ring` is that of the directory's shards.
pub(super) fn plan(
    directory: &Directory,
    ring: &ShardRing,
    command: Option<meta_command::What>,
    stamp_ms: u64,
) -> Result<Plan, Refused> {
    use meta_command::What as Wanted;
    let command = command.ok_or_else(|| Refused::invalid("a command that asks for nothing"))?;
    if let Wanted::Bootstrap(bootstrap) = command {
        return nodes::bootstrap(directory, bootstrap, stamp_ms);
    }
    if directory.cluster.is_none() {
        let reason = "this ranch has not been bootstrapped yet".to_owned();
        return Err(Refused { status: MetaStatus::MetaNotBootstrapped, reason });
    }
    match command {
        Wanted::Bootstrap(_) => Err(Refused::exists("this ranch is bootstrapped already")),
        Wanted::Join(join) => nodes::join(directory, join, stamp_ms),
        Wanted::AddTenant(put) => tenants::add(directory, ring, put, stamp_ms),
        Wanted::SetTenant(put) => tenants::set(directory, put, stamp_ms),
        Wanted::AddKey(key) => keys::add_key(directory, key, stamp_ms),
        Wanted::RemoveKey(remove) => keys::remove_key(directory, &remove),
        Wanted::PatchTenant(patch) => tenants::patch(directory, &patch),
        Wanted::RestoreTenant(asked) => restore::begin(directory, ring, asked),
        Wanted::FinishRestore(asked) => restore::finish(directory, &asked),
        Wanted::PurgeTenant(id) => tenants::purge(directory, &id),
        Wanted::TenantPurged(purged) => tenants::purged(directory, &purged),
        Wanted::DrainNode(drain) => leaving::drain(directory, drain),
        Wanted::RemoveNode(id) => leaving::remove(directory, id),
        Wanted::ForgetNode(id) => leaving::forget(directory, id, stamp_ms),
        Wanted::LoseNode(lose) => leaving::lose(directory, lose),
        Wanted::AddToken(token) => leaving::add_token(directory, token, stamp_ms),
        Wanted::RaiseVersion(raise) => versions::raise(directory, raise),
        Wanted::PlanShards(plan) => moves::plan_shards(directory, &plan),
        Wanted::StartMove(start) => moves::start_move(directory, &start, stamp_ms),
        Wanted::EndMove(end) => moves::end_move(directory, &end),
        Wanted::ShardInitialized(shard) => shard_initialized(directory, GroupId(shard)),
    }
}

fn shard_initialized(directory: &Directory, shard: GroupId) -> Result<Plan, Refused> {
    let known = directory.shards.get(&shard);
    let known = known.ok_or_else(|| Refused::not_found(format!("there is no shard {shard}")))?;
    if known.initialized {
        return Ok(Plan { records: Vec::new(), answer: Some(put(What::Shard(known.clone()))) });
    }
    let shard = ShardRecord { initialized: true, ..known.clone() };
    Ok(one(put(What::Shard(shard))))
}

fn put(what: What) -> Record {
    Record { what: Some(what), removed: false }
}

/// A plan of one record, which is the answer, too.
fn one(record: Record) -> Plan {
    Plan { records: vec![record.clone()], answer: Some(record) }
}
