//! What shards do to scrolls, in memory and for tests only: the same rules as the replicated state
//! machine, without Raft, disk or shards. Times are made from revisions, so answers never vary.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use prost::Message;
use ranch_proto::schema::{
    CallMethod, Command, CommandResult, GetReply, GetScroll, ListUsages, ManyReply, MethodCalls,
    Op, OpResult, OpStatus, PartReply, PhextInfo, PhextsReply, ReadReply, ReadRequest, ScanReply,
    ScanScrolls, Scroll, Tally, TenantCalls, TenantUsageRow, Usage, UsagesReply, op::Kind,
    read_reply, read_request,
};
use ranch_proto::value::{PART_BYTES, SCROLL_COST, parts_of};
use ranch_proto::{Coordinate, Pattern};

/// When revision 0 would have been written.
pub const EPOCH_MS: u64 = 1_772_366_400_000;
/// Scrolls a page, few, so that every walk takes several.
const PAGE: usize = 3;
/// Texts that come with the answer about many scrolls; few, so that some have to be fetched.
const MANY_TEXTS: usize = 5;
/// Longest first line given, even where whole ones are asked for; short for ASCII tests.
const LINE_MAX: usize = 300;

type Place = (String, String, Vec<u8>);

#[derive(Default)]
pub struct State {
    scrolls: BTreeMap<Place, (u64, Bytes)>,
    revisions: HashMap<String, u64>,
    seen: HashMap<Bytes, CommandResult>,
    keys: HashMap<Bytes, (Bytes, CommandResult)>,
    /// Parts of uploads, by tenant and upload.
    pub staged: HashMap<(String, Bytes), BTreeMap<u32, Bytes>>,
    pub applied: u64,
    /// How many texts walks have shown.
    pub texts_read: usize,
    calls: BTreeMap<(String, i32), u64>,
}

impl State {
    /// Applies a command, once a request id.
    pub fn apply(&mut self, command: &Command, quota: Option<u64>) -> CommandResult {
        if let Some(stage) = &command.stage {
            let place = (command.tenant.clone(), stage.upload.clone());
            let parts = self.staged.entry(place).or_default();
            parts.insert(stage.part, stage.bytes.clone());
            return one(OpStatus::OpOk, 0, 0);
        }
        if let Some(first) = self.seen.get(&command.request_id) {
            return CommandResult { repeated_request: true, ..first.clone() };
        }
        if let Some(commit) = &command.commit {
            let place = (command.tenant.clone(), commit.upload.clone());
            let parts = self.staged.remove(&place).unwrap_or_default();
            let whole: Vec<u8> = parts.into_values().flatten().collect();
            if commit.hash != xxhash_rust::xxh3::xxh3_128(&whole).to_be_bytes().to_vec() {
                return one(OpStatus::OpNotStaged, 0, 0);
            }
            return self.apply(&Command::decode(&whole[..]).unwrap(), quota);
        }
        self.applied += 1;
        let result = self.apply_new(command, quota);
        self.seen.insert(command.request_id.clone(), result.clone());
        result
    }

    fn apply_new(&mut self, command: &Command, quota: Option<u64>) -> CommandResult {
        if let Some(idempotency) = &command.idempotency
            && let Some((content, first)) = self.keys.get(&idempotency.key)
        {
            return if *content == idempotency.content {
                CommandResult { repeated_request: true, ..first.clone() }
            } else {
                let reused = one(OpStatus::OpKeyReused, 0, 0).results.remove(0);
                let results = vec![reused; command.ops.len()];
                CommandResult { results, repeated_request: false }
            };
        }
        let result = self.ops(command, quota);
        let done = result.results.iter().all(|result| result.status() == OpStatus::OpOk);
        if let Some(idempotency) = &command.idempotency
            && done
        {
            let remembered = (idempotency.content.clone(), result.clone());
            self.keys.insert(idempotency.key.clone(), remembered);
        }
        result
    }

    /// All ops, or none of them when one of an atomic command is refused.
    fn ops(&mut self, command: &Command, quota: Option<u64>) -> CommandResult {
        let before = (self.scrolls.clone(), self.revisions.clone());
        let mut results = Vec::new();
        for op in &command.ops {
            results.extend(self.op(&command.tenant, op, quota).results);
        }
        let failed = results.iter().position(|result| result.status() != OpStatus::OpOk);
        if let Some(failed) = failed
            && !command.independent
        {
            (self.scrolls, self.revisions) = before;
            let aborted = one(OpStatus::OpAborted, 0, 0).results.remove(0);
            for (at, result) in results.iter_mut().enumerate() {
                if at != failed {
                    *result = aborted.clone();
                }
            }
        }
        CommandResult { results, repeated_request: false }
    }

    fn op(&mut self, tenant: &str, op: &Op, quota: Option<u64>) -> CommandResult {
        let place = (tenant.to_owned(), op.phext.clone(), op.coordinate.to_vec());
        let before = self.scrolls.get(&place).cloned();
        let found = before.as_ref().map_or(0, |scroll| scroll.0);
        if op.if_revision.is_some_and(|wanted| wanted != found) {
            return one(OpStatus::OpPreconditionFailed, found, 0);
        }
        let old = before.map(|scroll| scroll.1).unwrap_or_default();
        let (after, bytes) = match op.kind() {
            Kind::Append => ([&old[..], &op.text[..]].concat().into(), op.text.len()),
            Kind::Write => (op.text.clone(), op.text.len()),
            Kind::Delete => (Bytes::new(), old.len()),
            Kind::Read => {
                let mut read = one(OpStatus::OpOk, found, old.len() as u64);
                read.results[0].text = (found > 0).then_some(old);
                return read;
            }
            Kind::Unspecified => panic!("tests do not send it"),
        };
        if after == old {
            return one(OpStatus::OpOk, self.revision(tenant), bytes as u64);
        }
        let cost = |text: &Bytes| if text.is_empty() { 0 } else { text.len() as u64 + SCROLL_COST };
        let storage = self.usage(tenant).storage_bytes - cost(&old) + cost(&after);
        if cost(&after) > cost(&old) && quota.is_some_and(|quota| storage > quota) {
            return one(OpStatus::OpQuotaExceeded, found, 0);
        }
        let revision = self.revision(tenant) + 1;
        self.revisions.insert(tenant.to_owned(), revision);
        if after.is_empty() {
            self.scrolls.remove(&place);
        } else {
            self.scrolls.insert(place, (revision, after));
        }
        one(OpStatus::OpOk, revision, bytes as u64)
    }

    pub fn purge(&mut self, tenant: &str) {
        self.scrolls.retain(|place, _| place.0 != tenant);
        self.revisions.remove(tenant);
    }

    /// Gives a tenant's first scroll another text; none removes it.
    pub fn replace_first(&mut self, tenant: &str, text: &str) {
        let first = self.scrolls.keys().find(|place| place.0 == tenant).unwrap().clone();
        let revision = self.revision(tenant) + 1;
        self.revisions.insert(tenant.to_owned(), revision);
        self.scrolls.remove(&first);
        if !text.is_empty() {
            self.scrolls.insert(first, (revision, Bytes::copy_from_slice(text.as_bytes())));
        }
    }

    fn revision(&self, tenant: &str) -> u64 {
        self.revisions.get(tenant).copied().unwrap_or(0)
    }

    pub fn read(&mut self, request: &ReadRequest) -> ReadReply {
        let tenant = request.tenant.as_str();
        let what = match request.what.as_ref().unwrap() {
            read_request::What::Get(get) => {
                read_reply::What::Get(GetReply { scroll: self.get(tenant, get, true) })
            }
            read_request::What::Many(many) => {
                // Only the first ones come with their texts, as if those had been enough.
                let scrolls = many.scrolls.iter().enumerate();
                let scrolls = scrolls
                    .map(|(at, get)| GetReply { scroll: self.get(tenant, get, at < MANY_TEXTS) });
                read_reply::What::Many(ManyReply { scrolls: scrolls.collect() })
            }
            read_request::What::Part(part) => {
                let place = (tenant.to_owned(), part.phext.clone(), part.coordinate.to_vec());
                let scroll = self.scrolls.get(&place).filter(|stored| stored.0 == part.revision);
                let text = scroll.and_then(|(_, text)| {
                    let from = part.part as usize * PART_BYTES;
                    (from < text.len()).then(|| text.slice(from..text.len().min(from + PART_BYTES)))
                });
                read_reply::What::Part(PartReply { text })
            }
            read_request::What::Scan(scan) => read_reply::What::Scan(self.scan(tenant, scan)),
            read_request::What::Usage(_) => read_reply::What::Usage(self.usage(tenant)),
            read_request::What::Phexts(_) => read_reply::What::Phexts(self.phexts(tenant)),
            read_request::What::Usages(list) => read_reply::What::Usages(self.usages(list)),
        };
        ReadReply { applied: self.applied, what: Some(what) }
    }

    fn get(&self, tenant: &str, get: &GetScroll, with_text: bool) -> Option<Scroll> {
        let place = (tenant.to_owned(), get.phext.clone(), get.coordinate.to_vec());
        let (place, stored) = self.scrolls.get_key_value(&place)?;
        let mut scroll = shown(place, stored, with_text);
        if with_text && scroll.parts > 0 {
            scroll.text = Some(stored.1.slice(..PART_BYTES));
        } else if !with_text {
            scroll.parts = scroll.parts.max(1);
        }
        Some(scroll)
    }

    fn scan(&mut self, tenant: &str, scan: &ScanScrolls) -> ScanReply {
        let pattern = Pattern::parse(&scan.pattern).unwrap();
        let matches = |place: &Place| {
            let coordinate = Coordinate::from_key(&place.2).unwrap();
            place.0 == tenant
                && place.1 == scan.phext
                && place.2[..] > scan.after[..]
                && (coordinate.is_numeric() || !scan.numeric_only)
                && pattern.matches(&coordinate)
        };
        let mut found = self.scrolls.iter().filter(|(place, _)| matches(place)).peekable();
        let limit = if scan.limit == 0 { PAGE } else { PAGE.min(scan.limit as usize) };
        let mut scrolls = Vec::new();
        while scrolls.len() < limit
            && let Some((place, stored)) = found.next()
        {
            let mut scroll = shown(place, stored, scan.texts);
            if !scan.whole_lines {
                scroll.line_cut = false;
            }
            scrolls.push(scroll);
        }
        let more = found.peek().is_some();
        self.texts_read += if scan.texts { scrolls.len() } else { 0 };
        let next_after = scrolls.last().map(|last| last.coordinate.clone()).unwrap_or_default();
        ScanReply { scrolls, more, next_after }
    }

    pub fn usage(&self, tenant: &str) -> Usage {
        let phexts = self.phexts(tenant).phexts;
        let revision = self.revision(tenant);
        Usage {
            storage_bytes: phexts.iter().map(|phext| phext.storage_bytes).sum(),
            scrolls: phexts.iter().map(|phext| phext.scrolls).sum(),
            phexts: phexts.len() as u64,
            revision,
            last_write_ms: if revision == 0 { 0 } else { EPOCH_MS + revision },
            calls_today: self.called(tenant),
            calls: self.calls_of(tenant),
            ..Usage::default()
        }
    }

    /// Two tenants a page, so that every list takes several.
    fn usages(&self, list: &ListUsages) -> UsagesReply {
        let tenants = self.revisions.keys().chain(self.calls.keys().map(|(tenant, _)| tenant));
        let known: BTreeSet<_> = tenants.filter(|tenant| **tenant > list.after).collect();
        let rows = known.iter().take(2).map(|tenant| TenantUsageRow {
            tenant: (*tenant).clone(),
            usage: Some(self.usage(tenant)),
        });
        UsagesReply { tenants: rows.collect(), more: known.len() > 2 }
    }

    pub fn count(&mut self, tenant: &str, method: CallMethod, count: u64) {
        *self.calls.entry((tenant.to_owned(), method as i32)).or_default() += count;
    }

    pub fn tally(&mut self, tally: &Tally) {
        for TenantCalls { tenant, calls, .. } in &tally.tenants {
            for calls in calls {
                self.count(tenant, calls.method(), calls.count);
            }
        }
    }

    /// How often a tenant called.
    pub fn called(&self, tenant: &str) -> u64 {
        self.calls_of(tenant).iter().map(|calls| calls.count).sum()
    }

    pub fn calls_of(&self, tenant: &str) -> Vec<MethodCalls> {
        let own = self.calls.iter().filter(|((of, _), _)| of == tenant);
        own.map(|((_, method), count)| MethodCalls { method: *method, count: *count }).collect()
    }

    fn phexts(&self, tenant: &str) -> PhextsReply {
        let mut phexts = BTreeMap::<&str, PhextInfo>::new();
        for ((_, phext, _), (_, text)) in self.scrolls.iter().filter(|(p, _)| p.0 == tenant) {
            let info = phexts.entry(phext).or_default();
            info.name.clone_from(phext);
            info.scrolls += 1;
            info.storage_bytes += text.len() as u64 + SCROLL_COST;
        }
        PhextsReply { phexts: phexts.into_values().collect() }
    }
}

fn shown(place: &Place, (revision, text): &(u64, Bytes), with_text: bool) -> Scroll {
    let line = std::str::from_utf8(text).unwrap();
    let whole = line.split('\n').next().unwrap_or_default();
    let first_line = &whole[..whole.len().min(LINE_MAX)];
    let parts = parts_of(text.len() as u64);
    Scroll {
        coordinate: place.2.clone().into(),
        revision: *revision,
        created_ms: EPOCH_MS + revision,
        modified_ms: EPOCH_MS + revision,
        length: text.len() as u64,
        hash: Bytes::copy_from_slice(&xxhash_rust::xxh3::xxh3_128(text).to_be_bytes()),
        first_line: first_line.to_owned(),
        more_lines: first_line.len() < text.len(),
        line_cut: first_line.len() < whole.len(),
        text: (with_text && parts == 0).then(|| text.clone()),
        parts: if with_text { parts } else { 0 },
    }
}

fn one(status: OpStatus, revision: u64, bytes: u64) -> CommandResult {
    let result = OpResult { status: status.into(), revision, bytes, text: None };
    CommandResult { results: vec![result], repeated_request: false }
}
