//! Putting a backup back: everything into an empty ranch, or one tenant into any. Everything is
//! looked at before anything is changed. Run again after it was cut short, it goes on: what is
//! whole is left alone, the rest is put there once more.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use ranch_proto::hex;
use ranch_proto::schema::{KeyRecord, RestoreTenant, RestoredFrom, TenantRecord};

use super::super::error::CliError;
use super::super::output;
use super::api::{Api, Expected, Tenants};
use super::dir::{Dir, Stored};
use super::error::BackupError;
use super::manifest::StoredTenant;
use super::pace::Pace;
use super::verify::{Records, Verifier};

/// Chunks of a tenant under way at once.
const AT_ONCE: usize = 2;
/// Tenants under way at once: a tenant is the work of one shard.
const TENANTS_AT_ONCE: usize = 4;
/// Tenants named where there are too many.
const NAMED: usize = 5;
/// The tenant made on a ranch's first start.
const DEMO: &str = "demo";

/// One tenant, and what it is to be called.
pub struct One {
    /// Its id in the backup.
    pub tenant: String,
    /// Its id in the ranch.
    pub name: String,
}

/// A tenant on its way.
#[derive(Clone, Copy)]
struct Job<'a> {
    tenant: &'a StoredTenant,
    name: &'a str,
    /// It comes alone, into a ranch that may know its keys.
    alone: bool,
}

/// What was restored.
#[derive(Debug, serde::Serialize)]
pub struct Done {
    /// The backup.
    pub backup: String,
    /// How many tenants were restored by this run.
    pub restored: usize,
    /// How many were there already, from an earlier run.
    pub already: usize,
    /// Scrolls of those restored.
    pub scrolls: u64,
    /// A key made for the one tenant restored, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Whether that tenant has keys of its own.
    pub keys: usize,
}

/// A restore under way.
pub struct Restore<'a> {
    api: &'a Api,
    dir: &'a Dir,
    stored: &'a Stored,
    records: Records,
    pace: Pace,
}

impl<'a> Restore<'a> {
    /// Reads what tenants the backup has.
    pub fn new(
        api: &'a Api,
        dir: &'a Dir,
        stored: &'a Stored,
        mb_per_s: f64,
    ) -> Result<Self, CliError> {
        let records = Records::read(dir, &stored.manifest.records)?;
        Ok(Self { api, dir, stored, records, pace: Pace::new(mb_per_s) })
    }

    /// Restores everything into an empty ranch.
    pub async fn all(&self) -> Result<Done, CliError> {
        let tenants: Vec<&StoredTenant> = self.stored.manifest.tenants.iter().collect();
        self.verify(&tenants)?;
        let there = self.api.tenants().await?;
        let others = self.others(&there);
        if !others.is_empty() {
            let more = if others.len() > NAMED { " …" } else { "" };
            let tenants = others[..others.len().min(NAMED)].join(", ") + more;
            return Err(BackupError::NotEmpty { tenants }.into());
        }
        let demo = there.untouched_demo && tenants.iter().any(|tenant| tenant.tenant_id == DEMO);
        // The backup has one that was used.
        if demo && !self.api.purge(DEMO).await? {
            return Err(BackupError::StillThere { tenant: DEMO.to_owned() }.into());
        }
        let bytes = tenants.iter().flat_map(|tenant| &tenant.chunks).map(|chunk| chunk.bytes);
        let bar = output::progress_bytes(bytes.sum(), "restore");
        let jobs = tenants
            .into_iter()
            .map(|tenant| self.tenant(Job { tenant, name: &tenant.tenant_id, alone: false }, &bar));
        let done: Vec<Done> =
            stream::iter(jobs).buffer_unordered(TENANTS_AT_ONCE).try_collect().await?;
        bar.finish_and_clear();
        let sum = |of: fn(&Done) -> usize| done.iter().map(of).sum();
        Ok(Done {
            restored: sum(|one| one.restored),
            already: sum(|one| one.already),
            scrolls: done.iter().map(|one| one.scrolls).sum(),
            ..self.nothing_done()
        })
    }

    /// Restores one tenant into a ranch that may have others.
    pub async fn one(&self, one: &One) -> Result<Done, CliError> {
        let tenants = &self.stored.manifest.tenants;
        let tenant = tenants.iter().find(|tenant| tenant.tenant_id == one.tenant);
        let tenant = tenant.ok_or_else(|| BackupError::NoTenant {
            name: self.stored.name.clone(),
            tenant: one.tenant.clone(),
        })?;
        self.verify(&[tenant])?;
        let there = self.api.tenants().await?;
        let known = there.tenants.iter().find(|known| known.tenant_id == one.name);
        let mine = hex::encode(&self.stored.digest);
        if known.is_some_and(|known| known.whole || known.backup.as_ref() != Some(&mine)) {
            return Err(BackupError::TenantExists { tenant: one.name.clone() }.into());
        }
        let bytes = tenant.chunks.iter().map(|chunk| chunk.bytes).sum();
        let bar = output::progress_bytes(bytes, "restore");
        let done = self.tenant(Job { tenant, name: &one.name, alone: true }, &bar).await?;
        bar.finish_and_clear();
        Ok(done)
    }

    fn nothing_done(&self) -> Done {
        let backup = self.stored.name.clone();
        Done { backup, restored: 0, already: 0, scrolls: 0, api_key: None, keys: 0 }
    }

    fn verify(&self, tenants: &[&StoredTenant]) -> Result<(), CliError> {
        let bytes = tenants.iter().flat_map(|tenant| &tenant.chunks).map(|chunk| chunk.bytes);
        let bar = output::progress_bytes(bytes.sum(), "verify");
        let faults = Verifier::new(self.dir, &bar).faults(self.stored, tenants);
        bar.finish_and_clear();
        match faults.into_iter().next() {
            None => Ok(()),
            Some(fault) => Err(fault.into()),
        }
    }

    /// Tenants of the ranch that are not from this backup.
    fn others(&self, there: &Tenants) -> Vec<String> {
        let mine = hex::encode(&self.stored.digest);
        let others = there.tenants.iter().filter(|known| {
            let untouched = known.tenant_id == DEMO && there.untouched_demo;
            !untouched && known.backup.as_ref() != Some(&mine)
        });
        others.map(|known| known.tenant_id.clone()).collect()
    }

    async fn tenant(&self, job: Job<'_>, bar: &ProgressBar) -> Result<Done, CliError> {
        let Job { tenant, name, alone } = job;
        let begun = self.api.begin(name, &self.begin(job)?).await?;
        let none = Done { keys: begun.keys, ..self.nothing_done() };
        if begun.whole {
            return Ok(Done { already: 1, ..none });
        }
        let chunks = stream::iter(&tenant.chunks).map(|chunk| async move {
            let bytes = Bytes::from(self.dir.chunk(chunk)?);
            self.pace.wait(chunk.bytes).await;
            self.api.put(name, bytes).await?;
            bar.inc(chunk.bytes);
            Ok::<(), CliError>(())
        });
        chunks.buffer_unordered(self.pace.at_once(AT_ONCE)).try_collect::<Vec<()>>().await?;
        let expected = Expected {
            scrolls: tenant.scrolls,
            storage_bytes: tenant.storage_bytes,
            phexts: tenant.phexts,
            revision: tenant.revision,
            last_write_ms: tenant.last_write_ms,
            new_key: alone,
        };
        let finished = self.api.finish(name, &expected).await?;
        if finished.status == "disabled" {
            output::notice(&format!("tenant {name} is disabled, as it was"));
        }
        Ok(Done { restored: 1, scrolls: tenant.scrolls, api_key: finished.api_key, ..none })
    }

    /// What a tenant was, with its keys.
    fn begin(&self, Job { tenant, name, alone }: Job<'_>) -> Result<RestoreTenant, CliError> {
        let record = self.records.tenants.get(&tenant.tenant_id);
        let record = record.ok_or_else(|| BackupError::Tenant {
            tenant: tenant.tenant_id.clone(),
            fault: "has no record".to_owned(),
        })?;
        let restored = RestoredFrom {
            backup: Bytes::copy_from_slice(&self.stored.digest),
            enabled: record.enabled,
            whole: false,
        };
        let keys = self.records.keys.iter().filter(|key| key.tenant == tenant.tenant_id);
        let keys = keys.map(|key| KeyRecord { tenant: name.to_owned(), ..key.clone() });
        Ok(RestoreTenant {
            tenant: Some(TenantRecord {
                id: name.to_owned(),
                restored: Some(restored),
                ..record.clone()
            }),
            keys: keys.collect(),
            salts: self.records.salts.clone(),
            keys_or_none: alone,
        })
    }
}
