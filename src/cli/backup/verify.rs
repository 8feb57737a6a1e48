//! Looking whether a backup is what was written: every chunk's bytes, every scroll in it, and that
//! all of a tenant's scrolls together are what its totals say.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use indicatif::ProgressBar;
use ranch_proto::backup;
use ranch_proto::schema::{KeyRecord, Record, TenantRecord, record::What};

use super::dir::{Dir, Stored};
use super::error::BackupError;
use super::manifest::{ChunkRef, StoredTenant};

/// What a chunk holds: looked at once, however many backups have it.
#[derive(Clone, Default)]
struct Contents {
    scrolls: u64,
    storage_bytes: u64,
    phexts: BTreeSet<String>,
    revision: u64,
}

/// Looks at backups of one directory.
pub struct Verifier<'a> {
    dir: &'a Dir,
    bar: &'a ProgressBar,
    seen: HashMap<String, Option<Contents>>,
}

/// What the records of a backup say.
pub struct Records {
    /// What keys may be hashed under: those that came from other ranches keep their salts.
    pub salts: Vec<Bytes>,
    /// Tenants by id.
    pub tenants: HashMap<String, TenantRecord>,
    /// Keys of all tenants.
    pub keys: Vec<KeyRecord>,
}

impl Records {
    /// Reads the records of a backup.
    pub fn read(dir: &Dir, chunk: &ChunkRef) -> Result<Self, BackupError> {
        let contents = |source| BackupError::Contents { path: dir.path_of(&chunk.digest), source };
        let records = backup::decode_records(dir.chunk(chunk)?.into()).map_err(contents)?;
        Ok(Self::of(records))
    }

    fn of(records: Vec<Record>) -> Self {
        let mut read = Self { salts: Vec::new(), tenants: HashMap::new(), keys: Vec::new() };
        for record in records {
            match record.what {
                Some(What::Cluster(cluster)) => {
                    read.salts = [vec![cluster.key_salt], cluster.other_salts].concat();
                }
                Some(What::Tenant(tenant)) => {
                    read.tenants.insert(tenant.id.clone(), tenant);
                }
                Some(What::Key(key)) => read.keys.push(key),
                _ => {}
            }
        }
        read
    }
}

impl<'a> Verifier<'a> {
    /// Shows on `bar` how many bytes were looked at.
    pub fn new(dir: &'a Dir, bar: &'a ProgressBar) -> Self {
        Self { dir, bar, seen: HashMap::new() }
    }

    /// All that is wrong with a backup, or with these tenants of it.
    pub fn faults(&mut self, stored: &Stored, tenants: &[&StoredTenant]) -> Vec<BackupError> {
        let mut faults = Vec::new();
        match Records::read(self.dir, &stored.manifest.records) {
            Ok(records) => faults.extend(tenants.iter().filter_map(|tenant| {
                let known = records.tenants.get(&tenant.tenant_id);
                let there = known.is_some_and(|known| known.life == tenant.life);
                (!there).then(|| fault(tenant, "has no record".to_owned()))
            })),
            Err(error) => faults.push(error),
        }
        for tenant in tenants {
            self.tenant(tenant, &mut faults);
        }
        faults
    }

    fn tenant(&mut self, tenant: &StoredTenant, faults: &mut Vec<BackupError>) {
        let before = faults.len();
        let mut found = Contents::default();
        for chunk in &tenant.chunks {
            match self.chunk(chunk) {
                Ok(Some(contents)) => {
                    found.scrolls += contents.scrolls;
                    found.storage_bytes += contents.storage_bytes;
                    found.revision = found.revision.max(contents.revision);
                    found.phexts.extend(contents.phexts);
                }
                // Said already, of another backup or tenant; this one lacks it, too.
                Ok(None) => faults.push(fault(tenant, "needs a chunk named above".to_owned())),
                Err(error) => faults.push(error),
            }
        }
        let phexts = found.phexts.len() as u64;
        let counts = (found.scrolls, found.storage_bytes, phexts);
        let promised = (tenant.scrolls, tenant.storage_bytes, tenant.phexts);
        let agrees = counts == promised && found.revision <= tenant.revision;
        if faults.len() == before && !agrees {
            let found = format!("has {counts:?} scrolls, bytes and phexts, not {promised:?}");
            faults.push(fault(tenant, found));
        }
    }

    fn chunk(&mut self, chunk: &ChunkRef) -> Result<Option<Contents>, BackupError> {
        if let Some(seen) = self.seen.get(&chunk.digest) {
            return Ok(seen.clone());
        }
        let read = self.read(chunk);
        self.bar.inc(chunk.bytes);
        self.seen.insert(chunk.digest.clone(), read.as_ref().ok().cloned());
        read.map(Some)
    }

    fn read(&self, chunk: &ChunkRef) -> Result<Contents, BackupError> {
        let path = || self.dir.path_of(&chunk.digest);
        let scrolls = backup::decode(self.dir.chunk(chunk)?.into())
            .map_err(|source| BackupError::Contents { path: path(), source })?;
        let mut contents = Contents::default();
        for scroll in scrolls {
            contents.scrolls += 1;
            contents.storage_bytes += backup::cost(&scroll);
            contents.revision = contents.revision.max(scroll.revision);
            if !contents.phexts.contains(&scroll.phext) {
                contents.phexts.insert(scroll.phext);
            }
        }
        Ok(contents)
    }
}

fn fault(tenant: &StoredTenant, fault: String) -> BackupError {
    BackupError::Tenant { tenant: tenant.tenant_id.clone(), fault }
}
