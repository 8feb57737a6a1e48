//! Reading a shard: straight from the database, past the state machine, by any number of readers.
//!
//! Every key is built from the tenant of the request, whose id cannot hold the byte that ends it
//! in keys; so no request, however odd, reads a row of another tenant.

use std::sync::Arc;

use bytes::Bytes;
use ranch_proto::coordinate::Coordinate;
use ranch_proto::ids::{GroupId, is_tenant_id};
use ranch_proto::keys::{self, KeyError, Kind};
use ranch_proto::pattern::PatternError;
use ranch_proto::schema::{
    GetMany, GetPart, GetReply, GetScroll, ManyReply, PartReply, PhextInfo, PhextsReply, ReadReply,
    ReadRequest, ScanReply, ScanScrolls, Scroll, Usage, read_reply, read_request,
};
use ranch_proto::value::{BodyRow, ScrollHeader, parts_of};
use tokio::sync::watch;

use crate::state::error::StateError;
use crate::state::progress::Progress;
use crate::state::scan;
use crate::state::shard::{CallsRow, PhextRow, UsageRow, is_storable_phext};
use crate::state::store::StateStore;
use crate::state::totals::Totals;
use crate::state::usages;
use crate::state::view::{View, body};

/// Bytes of texts after which further ones are left out of an answer about many scrolls.
const MANY_BYTES_MAX: u64 = 4 << 20;
/// Most phexts listed in one answer.
const PHEXTS_MAX: usize = 100_000;

/// Why a read was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The tenant's id is none.
    #[error("malformed tenant id")]
    Tenant,
    /// The phext's name cannot be stored, so nothing can be there.
    #[error("malformed phext name")]
    Phext,
    /// The encoded coordinate is none.
    #[error("{0}")]
    Coordinate(#[from] KeyError),
    /// The pattern is none.
    #[error("{0}")]
    Pattern(#[from] PatternError),
    /// The request asks for nothing this version knows.
    #[error("a read request that asks for nothing known")]
    Nothing,
    /// The tenant has more phexts than one answer holds.
    #[error("more than {PHEXTS_MAX} phexts")]
    TooManyPhexts,
    /// The database failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl ReadError {
    /// Whether the request is at fault, so that asking again will not help.
    pub fn is_invalid_request(&self) -> bool {
        !matches!(self, Self::State(_))
    }
}

/// A handle to read one shard; cheap to clone.
#[derive(Clone, Debug)]
pub struct ShardReader {
    store: Arc<StateStore>,
    progress: Arc<Progress>,
    totals: Arc<Totals>,
}

impl ShardReader {
    /// Notes for the node's next start that rows cannot be read, if that is what failed.
    pub(crate) fn note_damage(&self, error: &ReadError) {
        if let ReadError::State(error) = error {
            self.store.note_damage(error);
        }
    }

    pub(crate) fn new(
        store: Arc<StateStore>,
        progress: Arc<Progress>,
        totals: Arc<Totals>,
    ) -> Self {
        Self { store, progress, totals }
    }

    /// Index of the last entry whose effects are visible here; 0 before the first.
    pub fn applied(&self) -> u64 {
        self.progress.applied()
    }

    /// Changes whenever [`ShardReader::applied`] does.
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.progress.watch()
    }

    /// Index of the last entry whose effects are on disk here.
    pub fn durable_applied(&self) -> u64 {
        self.progress.durable_applied()
    }

    /// Scrolls of all tenants of this shard.
    pub fn scrolls(&self) -> u64 {
        self.totals.scrolls()
    }

    /// Bytes of all tenants of this shard, as counted against quotas.
    pub fn bytes(&self) -> u64 {
        self.totals.bytes()
    }

    /// Stamp of the last change of any tenant, in milliseconds since the Unix epoch.
    pub fn last_write_ms(&self) -> u64 {
        self.totals.last_write_ms()
    }

    /// Answers a request. The answer reflects at least the applied index it names.
    ///
    /// # Errors
    /// For a malformed request, or when the database fails.
    pub fn read(&self, request: &ReadRequest) -> Result<ReadReply, ReadError> {
        let applied = self.applied();
        let tenant = request.tenant.as_str();
        let what = match &request.what {
            Some(read_request::What::Get(get)) => {
                read_reply::What::Get(GetReply { scroll: self.get_scroll(tenant, get)? })
            }
            Some(read_request::What::Scan(scan)) => {
                read_reply::What::Scan(self.scan(tenant, scan)?)
            }
            Some(read_request::What::Usage(_)) => read_reply::What::Usage(self.usage(tenant)?),
            Some(read_request::What::Phexts(_)) => read_reply::What::Phexts(self.phexts(tenant)?),
            Some(read_request::What::Usages(list)) => {
                read_reply::What::Usages(usages::page(&self.store, self.group(), list)?)
            }
            Some(read_request::What::Many(many)) => {
                read_reply::What::Many(self.many(tenant, many)?)
            }
            Some(read_request::What::Part(part)) => {
                read_reply::What::Part(PartReply { text: self.part(tenant, part)? })
            }
            None => return Err(ReadError::Nothing),
        };
        Ok(ReadReply { applied, what: Some(what) })
    }

    /// One scroll with all of its text, however large, by its encoded coordinate; `None` when
    /// there is none.
    ///
    /// # Errors
    /// As [`ShardReader::read`].
    pub fn get(
        &self,
        tenant: &str,
        phext: &str,
        coordinate: &[u8],
    ) -> Result<Option<(ScrollHeader, Bytes)>, ReadError> {
        let key = self.body_key(tenant, phext, coordinate)?;
        let view = View::of_this_moment(&self.store);
        let Some(row) = view.get(&key)? else { return Ok(None) };
        Ok(Some(match body(&row)? {
            BodyRow::Whole(header, text) => (header, Bytes::copy_from_slice(text)),
            BodyRow::InParts(header) => {
                let mut text = Vec::new();
                view.text(&key, &header, &mut text)?;
                (header, text.into())
            }
        }))
    }

    fn get_scroll(&self, tenant: &str, get: &GetScroll) -> Result<Option<Scroll>, ReadError> {
        let key = self.body_key(tenant, &get.phext, &get.coordinate)?;
        // Nearly all scrolls are whole in one row, and one row needs no view of one moment.
        let now = View::Now(&self.store);
        let Some(row) = now.get(&key)? else { return Ok(None) };
        if let BodyRow::Whole(header, text) = body(&row)? {
            let text = Bytes::copy_from_slice(text);
            return Ok(Some(scan::with_text(get.coordinate.clone(), &header, text)));
        }
        shown(&View::of_this_moment(&self.store), &key, get, &mut 0)
    }

    /// Several scrolls, as of one moment. Further texts are left out once there are enough bytes
    /// of them.
    ///
    /// # Errors
    /// As [`ShardReader::read`].
    pub fn many(&self, tenant: &str, many: &GetMany) -> Result<ManyReply, ReadError> {
        let view = View::of_this_moment(&self.store);
        let mut bytes = 0;
        let replies = many.scrolls.iter().map(|get| {
            let key = self.body_key(tenant, &get.phext, &get.coordinate)?;
            Ok(GetReply { scroll: shown(&view, &key, get, &mut bytes)? })
        });
        Ok(ManyReply { scrolls: replies.collect::<Result<_, ReadError>>()? })
    }

    /// A part of a text; `None` when the scroll is not at this revision any more.
    ///
    /// # Errors
    /// As [`ShardReader::read`].
    pub fn part(&self, tenant: &str, part: &GetPart) -> Result<Option<Bytes>, ReadError> {
        let key = self.body_key(tenant, &part.phext, &part.coordinate)?;
        let view = View::of_this_moment(&self.store);
        let Some(row) = view.get(&key)? else { return Ok(None) };
        Ok(match body(&row)? {
            BodyRow::Whole(header, text) => (header.revision == part.revision && part.part == 0)
                .then(|| Bytes::copy_from_slice(text)),
            BodyRow::InParts(header) => {
                let parts = parts_of(header.length.into());
                if header.revision != part.revision || part.part >= parts {
                    return Ok(None);
                }
                Some(Bytes::copy_from_slice(&view.part(&key, part.part)?))
            }
        })
    }

    fn body_key(&self, tenant: &str, phext: &str, coordinate: &[u8]) -> Result<Vec<u8>, ReadError> {
        check(tenant, Some(phext))?;
        Coordinate::from_key(coordinate)?;
        Ok(keys::body(self.group(), tenant, phext, coordinate))
    }

    /// A page of scrolls of one phext, in key order.
    ///
    /// # Errors
    /// As [`ShardReader::read`].
    pub fn scan(&self, tenant: &str, scan: &ScanScrolls) -> Result<ScanReply, ReadError> {
        check(tenant, Some(&scan.phext))?;
        scan::page(&self.store, self.group(), tenant, scan)
    }

    /// A tenant's totals; all 0 for one that never wrote.
    ///
    /// # Errors
    /// As [`ShardReader::read`].
    pub fn usage(&self, tenant: &str) -> Result<Usage, ReadError> {
        check(tenant, None)?;
        let mut usage = Usage::default();
        if let Some(row) = self.store.get(&keys::usage(self.group(), tenant))? {
            UsageRow::decode(&row)?.describe(&mut usage);
        }
        if let Some(row) = self.store.get(&keys::calls(self.group(), tenant))? {
            CallsRow::decode(&row)?.describe(&mut usage);
        }
        Ok(usage)
    }

    /// Which of the tenants that have had an id this replica has rows of; 0 when that is not said.
    ///
    /// # Errors
    /// As [`ShardReader::read`].
    pub fn life(&self, tenant: &str) -> Result<u64, ReadError> {
        check(tenant, None)?;
        let row = self.store.get(&keys::usage(self.group(), tenant))?;
        Ok(row.map_or_else(|| Ok(UsageRow::default()), |row| UsageRow::decode(&row))?.life)
    }

    /// A tenant's phexts, by name.
    ///
    /// # Errors
    /// As [`ShardReader::read`].
    pub fn phexts(&self, tenant: &str) -> Result<PhextsReply, ReadError> {
        check(tenant, None)?;
        let mut phexts = Vec::new();
        let bounds = keys::tenant_bounds(Kind::Phext, self.group(), tenant);
        self.store.for_each(bounds, |key, value| {
            let (_, name) = keys::read_phext(key)
                .map_err(|source| StateError::Key { what: "phext", source })?;
            let PhextRow { scrolls, storage_bytes } = PhextRow::decode(value)?;
            phexts.push(PhextInfo { name: name.to_owned(), scrolls, storage_bytes });
            Ok(phexts.len() <= PHEXTS_MAX)
        })?;
        if phexts.len() > PHEXTS_MAX {
            return Err(ReadError::TooManyPhexts);
        }
        Ok(PhextsReply { phexts })
    }

    fn group(&self) -> GroupId {
        self.progress.group()
    }
}

/// A scroll as answered: with its text or the first part of it, unless `bytes` of texts before it
/// were enough.
fn shown(
    view: &View<'_>,
    key: &[u8],
    get: &GetScroll,
    bytes: &mut u64,
) -> Result<Option<Scroll>, ReadError> {
    let Some(row) = view.get(key)? else { return Ok(None) };
    let (header, text, parts) = match body(&row)? {
        BodyRow::Whole(header, text) if *bytes + text.len() as u64 <= MANY_BYTES_MAX => {
            (header, Some(Bytes::copy_from_slice(text)), 0)
        }
        BodyRow::Whole(header, _) => (header, None, 1),
        BodyRow::InParts(header) => {
            let first = (*bytes < MANY_BYTES_MAX).then(|| view.part(key, 0)).transpose()?;
            let text = first.map(|part| Bytes::copy_from_slice(&part));
            (header, text, parts_of(header.length.into()))
        }
    };
    *bytes += text.as_ref().map_or(0, |text| text.len() as u64);
    let bare = scan::bare(get.coordinate.clone(), &header);
    Ok(Some(Scroll { text, parts, ..bare }))
}

fn check(tenant: &str, phext: Option<&str>) -> Result<(), ReadError> {
    if !is_tenant_id(tenant) {
        return Err(ReadError::Tenant);
    }
    if phext.is_some_and(|name| !is_storable_phext(name)) {
        return Err(ReadError::Phext);
    }
    Ok(())
}
