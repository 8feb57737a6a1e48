//! What shards do to scrolls, in memory and for tests only: the same rules as the replicated state
//! machine, without Raft, disk or shards. Times are made from revisions, so answers never vary.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use ranch_proto::schema::{
    CallMethod, Command, CommandResult, GetReply, ListUsages, MethodCalls, Op, OpResult, OpStatus,
    PhextInfo, PhextsReply, ReadReply, ReadRequest, ScanReply, ScanScrolls, Scroll, Tally,
    TenantCalls, TenantUsageRow, Usage, UsagesReply, op::Kind, read_reply, read_request,
};
use ranch_proto::value::SCROLL_COST;
use ranch_proto::{Coordinate, Pattern};

/// When revision 0 would have been written.
pub const EPOCH_MS: u64 = 1_772_366_400_000;
/// Scrolls a page, few, so that every walk takes several.
const PAGE: usize = 3;

type Place = (String, String, Vec<u8>);

#[derive(Default)]
pub struct State {
    scrolls: BTreeMap<Place, (u64, Bytes)>,
    revisions: HashMap<String, u64>,
    seen: HashMap<Bytes, CommandResult>,
    keys: HashMap<Bytes, (Bytes, CommandResult)>,
    pub applied: u64,
    /// How many texts walks have shown.
    pub texts_read: usize,
    calls: BTreeMap<(String, i32), u64>,
}

impl State {
    /// Applies a command of one op, once a request id.
    pub fn apply(&mut self, command: &Command, quota: Option<u64>) -> CommandResult {
        if let Some(first) = self.seen.get(&command.request_id) {
            return CommandResult { repeated_request: true, ..first.clone() };
        }
        self.applied += 1;
        let result = self.apply_new(command, quota);
        self.seen.insert(command.request_id.clone(), result.clone());
        result
    }

    fn apply_new(&mut self, command: &Command, quota: Option<u64>) -> CommandResult {
        let [op] = &command.ops[..] else { panic!("tests send one op a command") };
        if let Some(idempotency) = &command.idempotency
            && let Some((content, first)) = self.keys.get(&idempotency.key)
        {
            return if *content == idempotency.content {
                CommandResult { repeated_request: true, ..first.clone() }
            } else {
                one(OpStatus::OpKeyReused, 0, 0)
            };
        }
        let result = self.op(&command.tenant, op, quota);
        if let Some(idempotency) = &command.idempotency
            && result.results[0].status() == OpStatus::OpOk
        {
            let remembered = (idempotency.content.clone(), result.clone());
            self.keys.insert(idempotency.key.clone(), remembered);
        }
        result
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
            kind => panic!("tests do not send {kind:?}"),
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

    fn revision(&self, tenant: &str) -> u64 {
        self.revisions.get(tenant).copied().unwrap_or(0)
    }

    pub fn read(&mut self, request: &ReadRequest) -> ReadReply {
        let tenant = request.tenant.as_str();
        let what = match request.what.as_ref().unwrap() {
            read_request::What::Get(get) => {
                let place = (tenant.to_owned(), get.phext.clone(), get.coordinate.to_vec());
                let scroll = self.scrolls.get_key_value(&place);
                let scroll = scroll.map(|(place, stored)| shown(place, stored, true));
                read_reply::What::Get(GetReply { scroll })
            }
            read_request::What::Scan(scan) => read_reply::What::Scan(self.scan(tenant, scan)),
            read_request::What::Usage(_) => read_reply::What::Usage(self.usage(tenant)),
            read_request::What::Phexts(_) => read_reply::What::Phexts(self.phexts(tenant)),
            read_request::What::Usages(list) => read_reply::What::Usages(self.usages(list)),
        };
        ReadReply { applied: self.applied, what: Some(what) }
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
            scrolls.push(shown(place, stored, scan.texts));
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
    let first_line = line.split('\n').next().unwrap_or_default();
    Scroll {
        coordinate: place.2.clone().into(),
        revision: *revision,
        created_ms: EPOCH_MS + revision,
        modified_ms: EPOCH_MS + revision,
        length: text.len() as u64,
        hash: Bytes::copy_from_slice(&xxhash_rust::xxh3::xxh3_128(text).to_be_bytes()),
        first_line: first_line.to_owned(),
        more_lines: first_line.len() < text.len(),
        text: with_text.then(|| text.clone()),
    }
}

fn one(status: OpStatus, revision: u64, bytes: u64) -> CommandResult {
    let result = OpResult { status: status.into(), revision, bytes, text: None };
    CommandResult { results: vec![result], repeated_request: false }
}
