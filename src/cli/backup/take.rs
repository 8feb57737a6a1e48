//! Taking a backup: copies of all shards are opened, then read a chunk from each in turn, so that
//! none waits for long; what tenants there are is asked last. Chunks that are here already are
//! not fetched. The manifest makes it a backup, at the very end.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use ranch_proto::backup::{self, digest};
use ranch_proto::hex;
use ranch_proto::schema::{Record, record::What};

use super::super::error::CliError;
use super::super::http::ClientError;
use super::super::output;
use super::api::{Api, Opened, Piece};
use super::dir::Dir;
use super::error::BackupError;
use super::manifest::{ChunkRef, Manifest, StoredShard, StoredTenant};
use super::pace::Pace;

/// Shards read at once: while one is asked, others are on their way, or being stored.
const AT_ONCE: usize = 4;
/// How long a copy is asked in vain before another one is opened.
const DOUBT: Duration = Duration::from_secs(4);
/// Between attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a shard is begun anew.
const COPIES_MAX: u32 = 8;

/// What one run stored.
#[derive(Debug, serde::Serialize)]
pub struct Taken {
    /// The backup's name.
    pub name: String,
    /// How many tenants it has.
    pub tenants: usize,
    /// How many scrolls.
    pub scrolls: u64,
    /// What they count.
    pub storage_bytes: u64,
    /// Chunks in it, and their bytes.
    pub chunks: u64,
    /// See `chunks`.
    pub bytes: u64,
    /// Those of them that were not here before.
    pub new_chunks: u64,
    /// See `new_chunks`.
    pub new_bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// One run.
struct Run<'a> {
    api: &'a Api,
    dir: &'a Arc<Dir>,
    pace: Pace,
    bar: ProgressBar,
    /// Chunks known to be on disk as they should be.
    known: RefCell<HashSet<String>>,
    new_chunks: Cell<u64>,
    new_bytes: Cell<u64>,
}

/// A shard on its way.
struct ShardCopy {
    opened: Opened,
    number: u64,
    /// Of the tenant that comes next.
    chunks: Vec<ChunkRef>,
    tenants: Vec<StoredTenant>,
    ended: bool,
    begun: u32,
}

/// Takes one backup.
pub async fn take(api: &Api, dir: &Arc<Dir>, mb_per_s: f64) -> Result<Taken, CliError> {
    let started = Instant::now();
    let about = api.about().await?;
    let bar = output::progress_bytes(0, "backup");
    let run = Run {
        api,
        dir,
        pace: Pace::new(mb_per_s),
        bar,
        known: RefCell::new(dir.known()?),
        new_chunks: Cell::new(0),
        new_bytes: Cell::new(0),
    };
    let opening = about.shards.iter().map(|shard| run.open(*shard));
    let mut copies = try_join_all(opening).await?;
    run.bar.set_length(copies.iter().map(|copy| copy.opened.stored_bytes).sum());
    let at_once = run.pace.at_once(AT_ONCE);
    loop {
        let left = copies.iter_mut().filter(|copy| !copy.ended);
        let steps = stream::iter(left).map(|copy| run.step(copy)).buffer_unordered(at_once);
        if steps.try_fold(0, async |steps, ()| Ok(steps + 1)).await? == 0 {
            break;
        }
    }
    let records = api.records().await?;
    let records_ref = ChunkRef::new(&digest(&records), records.len() as u64);
    run.keep(&records_ref, async || Ok(records.clone())).await?;
    let records = backup::decode_records(records).map_err(|_| BackupError::Transfer)?;
    run.bar.finish_and_clear();
    let shards = copies.iter().map(|copy| StoredShard {
        shard: copy.opened.shard,
        node: copy.opened.node,
        applied: copy.opened.applied,
    });
    let manifest = Manifest {
        begun: about.now.clone(),
        version: about.version,
        cluster_id: about.cluster_id,
        cluster_name: about.cluster_name,
        records: records_ref,
        shards: shards.collect(),
        tenants: tenants(&records, copies),
    };
    let name = dir.finish(&name_of(&about.now), &manifest)?;
    Ok(run.taken(name, &manifest, started))
}

/// A moment as a name: without what does not go in names of files, and no finer than seconds.
fn name_of(moment: &str) -> String {
    format!("{}Z", moment.chars().take(19).collect::<String>().replace(':', "-"))
}

/// The tenants there are, each with what was copied of it. What was copied of one that has been
/// deleted since, or had its id before, is left out.
fn tenants(records: &[Record], copies: Vec<ShardCopy>) -> Vec<StoredTenant> {
    let stored = copies.into_iter().flat_map(|copy| copy.tenants);
    let mut by_life: BTreeMap<(String, u64), StoredTenant> =
        stored.map(|tenant| ((tenant.tenant_id.clone(), tenant.life), tenant)).collect();
    let mut tenants = Vec::new();
    for record in records {
        let Some(What::Tenant(known)) = &record.what else { continue };
        let (tenant_id, life) = (known.id.clone(), known.life);
        let nothing =
            || StoredTenant { tenant_id: known.id.clone(), life, ..StoredTenant::default() };
        tenants.push(by_life.remove(&(tenant_id, life)).unwrap_or_else(nothing));
    }
    tenants.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    tenants
}

impl Run<'_> {
    async fn open(&self, shard: u32) -> Result<ShardCopy, CliError> {
        let opened = self.api.open(shard).await.map_err(|source| self.no_copy(shard, source))?;
        Ok(ShardCopy {
            opened,
            number: 0,
            chunks: Vec::new(),
            tenants: Vec::new(),
            ended: false,
            begun: 1,
        })
    }

    fn no_copy(&self, shard: u32, source: ClientError) -> CliError {
        if !source.is_passing() {
            return source.into();
        }
        let seconds = self.api.patience.as_secs();
        BackupError::NoCopy { shard, seconds, source: Box::new(source) }.into()
    }

    /// Takes the next piece of a shard. Where the copy is lost, with its node as a rule, the shard
    /// is begun anew: what is stored of it need not be fetched again.
    async fn step(&self, copy: &mut ShardCopy) -> Result<(), CliError> {
        let started = Instant::now();
        loop {
            match self.piece(copy).await {
                Ok(()) => return Ok(()),
                Err(CliError::Client(error)) if error.is_conflict() => {
                    return self.begin_anew(copy, error).await;
                }
                Err(CliError::Client(error)) if error.is_passing() => {
                    if started.elapsed() > DOUBT {
                        return self.begin_anew(copy, error).await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin_anew(&self, copy: &mut ShardCopy, why: ClientError) -> Result<(), CliError> {
        let shard = copy.opened.shard;
        if copy.begun >= COPIES_MAX {
            return Err(self.no_copy(shard, why));
        }
        output::notice(&format!("the copy of shard {shard} is lost ({why}): it is begun anew"));
        *copy = ShardCopy { begun: copy.begun + 1, ..self.open(shard).await? };
        Ok(())
    }

    async fn piece(&self, copy: &mut ShardCopy) -> Result<(), CliError> {
        let number = copy.number;
        match self.api.piece(&copy.opened, number).await? {
            Piece::Chunk { digest, bytes } => {
                let chunk = ChunkRef { digest, bytes };
                chunk.bytes_of_digest().ok_or(BackupError::Transfer)?;
                let fetch = async || self.fetch(&copy.opened, number, bytes).await;
                if !self.keep(&chunk, fetch).await? {
                    // It has been read all the same.
                    self.pace.wait(bytes).await;
                }
                self.bar.inc(bytes);
                copy.chunks.push(chunk);
            }
            Piece::Tenant(tenant) => {
                let chunks = std::mem::take(&mut copy.chunks);
                copy.tenants.push(StoredTenant { chunks, ..tenant });
            }
            Piece::End(ended) => {
                self.api.close(&copy.opened).await;
                copy.ended = ended;
            }
        }
        copy.number += 1;
        Ok(())
    }

    /// Fetches a chunk: at once where there is no limit, else in parts, each at its time.
    async fn fetch(&self, copy: &Opened, number: u64, bytes: u64) -> Result<Bytes, CliError> {
        let Some(most) = self.pace.part() else {
            return Ok(self.api.bytes(copy, number, None).await?);
        };
        let mut whole = Vec::new();
        while (whole.len() as u64) < bytes {
            let offset = whole.len() as u64;
            let length = most.min(bytes - offset);
            self.pace.wait(length).await;
            let part = self.api.bytes(copy, number, Some((offset, length))).await?;
            if part.is_empty() {
                return Err(BackupError::Transfer.into());
            }
            // A router of an earlier version gives all of it at once.
            whole.extend_from_slice(&part);
        }
        Ok(whole.into())
    }

    /// Has a chunk in the directory: as it is there already, or fetched. Whether it was fetched.
    async fn keep(
        &self,
        chunk: &ChunkRef,
        fetch: impl AsyncFnOnce() -> Result<Bytes, CliError>,
    ) -> Result<bool, CliError> {
        // One that no backup vouches for may be what a crash left of it.
        let here = self.dir.has(chunk)
            && (self.known.borrow().contains(&chunk.digest) || self.dir.chunk(chunk).is_ok());
        if !here {
            store(Arc::clone(self.dir), chunk.clone(), fetch().await?).await?;
            self.new_chunks.set(self.new_chunks.get() + 1);
            self.new_bytes.set(self.new_bytes.get() + chunk.bytes);
        }
        self.known.borrow_mut().insert(chunk.digest.clone());
        Ok(!here)
    }

    fn taken(&self, name: String, manifest: &Manifest, started: Instant) -> Taken {
        let (scrolls, storage_bytes) = manifest.totals();
        Taken {
            name,
            tenants: manifest.tenants.len(),
            scrolls,
            storage_bytes,
            chunks: manifest.chunks().count() as u64,
            bytes: manifest.chunks().map(|chunk| chunk.bytes).sum(),
            new_chunks: self.new_chunks.get(),
            new_bytes: self.new_bytes.get(),
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

/// Stores a chunk that is what it is said to be, on a thread of its own: hashing and writing take
/// longer than fetching.
async fn store(dir: Arc<Dir>, chunk: ChunkRef, bytes: Bytes) -> Result<(), BackupError> {
    let storing = tokio::task::spawn_blocking(move || {
        if hex::encode(&digest(&bytes)) != chunk.digest {
            return Err(BackupError::Transfer);
        }
        dir.store(&chunk, &bytes)
    });
    storing.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ranch_proto::schema::TenantRecord;

    fn copied(id: &str, life: u64, scrolls: u64) -> StoredTenant {
        StoredTenant { tenant_id: id.into(), life, scrolls, ..StoredTenant::default() }
    }

    #[test]
    fn data_goes_with_the_tenant_it_is_of() {
        let record = |id: &str, life| Record {
            what: Some(What::Tenant(TenantRecord { id: id.into(), life, ..Default::default() })),
            removed: false,
        };
        let records = [record("new", 9), record("again", 8), record("a", 3)];
        let opened = Opened { copy: "x".into(), shard: 1, node: 1, applied: 1, stored_bytes: 0 };
        let tenants_copied = vec![copied("a", 3, 5), copied("again", 4, 7), copied("purged", 2, 1)];
        let copy = ShardCopy {
            opened,
            number: 0,
            chunks: Vec::new(),
            tenants: tenants_copied,
            ended: true,
            begun: 1,
        };
        let tenants = tenants(&records, vec![copy]);
        assert_eq!(tenants, [copied("a", 3, 5), copied("again", 8, 0), copied("new", 9, 0)]);
    }

    #[test]
    fn names_are_moments() {
        assert_eq!(name_of("2026-11-26T22:49:11.123Z"), "2026-11-26T22-49-11Z");
    }
}
