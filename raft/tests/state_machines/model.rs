//! Random commands, some of them in parts, against a model in a few maps: a replica that is
//! restarted and crashed at random, one that never is, and the model must agree, row by row,
//! wherever batches end.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use ranch_proto::schema::{
    Command, CommandResult, Idempotency, Op, OpResult, OpStatus, ScanScrolls, Scroll, ShardEntry,
    Usage, op::Kind,
};
use ranch_proto::value::{PART_BYTES, WHOLE_MAX, scroll_cost};
use ranch_raft::state::READ_BYTES_MAX;

use crate::support::*;

const TENANTS: [&str; 2] = ["will", "will-b"];
const PHEXTS: [&str; 2] = ["index", "other"];
const COORDINATES: [&str; 3] = ["1.1.1/1.1.1/1.1.1", "4294967295.1.1/1.1.1/1.1.9", "notes/todo"];

/// The limit of the commands here.
const SCROLL_MAX: u64 = 5 << 20;

type Place = (String, String, Bytes);

#[derive(Clone, Debug, PartialEq)]
struct ModelScroll {
    text: Bytes,
    revision: u64,
    created_ms: u64,
    modified_ms: u64,
}

#[derive(Clone, Default)]
struct Model {
    scrolls: BTreeMap<Place, ModelScroll>,
    revisions: BTreeMap<String, (u64, u64)>,
    answers: BTreeMap<(String, Bytes), Vec<OpResult>>,
    keys: BTreeMap<(String, Bytes), (Bytes, Vec<OpResult>)>,
}

impl Model {
    fn used(&self, tenant: &str) -> u64 {
        let own = self.scrolls.iter().filter(|(place, _)| place.0 == tenant);
        own.map(|(_, scroll)| scroll_cost(scroll.text.len() as u64)).sum()
    }

    fn usage(&self, tenant: &str) -> Usage {
        let own: Vec<_> = self.scrolls.keys().filter(|place| place.0 == tenant).collect();
        let mut phexts: Vec<_> = own.iter().map(|place| &place.1).collect();
        phexts.dedup();
        let (revision, last_write_ms) = self.revisions.get(tenant).copied().unwrap_or_default();
        Usage {
            storage_bytes: self.used(tenant),
            scrolls: own.len() as u64,
            phexts: phexts.len() as u64,
            revision,
            last_write_ms,
            ..Usage::default()
        }
    }

    fn command(&mut self, stamp_ms: u64, command: &Command) -> CommandResult {
        let id = (command.tenant.clone(), command.request_id.clone());
        if let Some(first) = self.answers.get(&id) {
            return self.repeat(command, first.clone());
        }
        let results = self.keyed(stamp_ms, command);
        if command.ops.iter().any(|op| op.kind() != Kind::Read) {
            self.answers.insert(id, results.results.clone());
        }
        results
    }

    fn keyed(&mut self, stamp_ms: u64, command: &Command) -> CommandResult {
        let Some(idempotency) = &command.idempotency else {
            let results = self.ops(stamp_ms, command);
            return CommandResult { results, repeated_request: false };
        };
        let key = (command.tenant.clone(), idempotency.key.clone());
        match self.keys.get(&key) {
            Some((content, first)) if *content == idempotency.content => {
                return self.repeat(command, first.clone());
            }
            Some(_) => {
                let results = vec![refused(OpStatus::OpKeyReused, 0); command.ops.len()];
                return CommandResult { results, repeated_request: false };
            }
            None => {}
        }
        let results = self.ops(stamp_ms, command);
        let effect = |(op, result): (&Op, &OpResult)| {
            op.kind() != Kind::Read && result.status() == OpStatus::OpOk
        };
        if command.ops.iter().zip(&results).any(effect) {
            self.keys.insert(key, (idempotency.content.clone(), results.clone()));
        }
        CommandResult { results, repeated_request: false }
    }

    fn repeat(&self, command: &Command, mut results: Vec<OpResult>) -> CommandResult {
        if results.len() != command.ops.len() {
            let results = vec![refused(OpStatus::OpInvalid, 0); command.ops.len()];
            return CommandResult { results, repeated_request: false };
        }
        for (op, result) in command.ops.iter().zip(&mut results) {
            result.text = None;
            let read = op.kind() == Kind::Read && result.status() == OpStatus::OpOk;
            if read && result.revision != 0 {
                match self.scrolls.get(&place(command, op)) {
                    Some(scroll) if scroll.revision == result.revision => {
                        result.text = Some(scroll.text.clone());
                    }
                    _ => result.status = OpStatus::OpAborted.into(),
                }
            }
        }
        CommandResult { results, repeated_request: true }
    }

    fn ops(&mut self, stamp_ms: u64, command: &Command) -> Vec<OpResult> {
        let single = command.independent || command.ops.len() < 2;
        let before = self.clone();
        let used = self.used(&command.tenant);
        let quota = command.quota_bytes.unwrap_or(u64::MAX);
        let mut over = None;
        let mut read_bytes = 0;
        let mut results = Vec::new();
        for (at, op) in command.ops.iter().enumerate() {
            let undone = self.clone();
            let cost = self.used(&command.tenant);
            let mut result = self.op(stamp_ms, command, op);
            if op.kind() == Kind::Read && result.status() == OpStatus::OpOk {
                read_bytes += result.bytes;
                if result.bytes > WHOLE_MAX || read_bytes > READ_BYTES_MAX {
                    read_bytes -= result.bytes;
                    result = refused(OpStatus::OpTooLarge, result.revision);
                }
            }
            let now = self.used(&command.tenant);
            if now > cost && now > quota {
                if single {
                    let revision =
                        undone.scrolls.get(&place(command, op)).map_or(0, |s| s.revision);
                    *self = undone;
                    result = refused(OpStatus::OpQuotaExceeded, revision);
                } else {
                    over = over.or(Some(at));
                }
            }
            if !single && result.status() != OpStatus::OpOk {
                *self = before;
                return failed(command, at, result);
            }
            results.push(result);
        }
        let now = self.used(&command.tenant);
        if let Some(at) = over
            && now > used
            && now > quota
        {
            *self = before;
            return failed(command, at, refused(OpStatus::OpQuotaExceeded, 0));
        }
        results
    }

    fn op(&mut self, stamp_ms: u64, command: &Command, op: &Op) -> OpResult {
        let place = place(command, op);
        let old = self.scrolls.get(&place).cloned();
        let found = old.as_ref().map_or(0, |scroll| scroll.revision);
        if op.if_revision.is_some_and(|wanted| wanted != found) {
            return refused(OpStatus::OpPreconditionFailed, found);
        }
        let text = old.as_ref().map_or(Bytes::new(), |scroll| scroll.text.clone());
        let counter = self.revisions.get(&command.tenant).map_or(0, |known| known.0);
        let (new, bytes) = match op.kind() {
            Kind::Read => {
                let length = text.len() as u64;
                return OpResult { text: old.map(|_| text), ..ok(found, length) };
            }
            Kind::Append if op.text.is_empty() => return ok(counter, 0),
            Kind::Append => ([text, op.text.clone()].concat().into(), op.text.len()),
            Kind::Write => (op.text.clone(), op.text.len()),
            _ => (Bytes::new(), text.len()),
        };
        if new.is_empty() && old.is_none() {
            return ok(counter, 0);
        }
        if new.len() as u64 > SCROLL_MAX {
            return refused(OpStatus::OpTooLarge, found);
        }
        let latest = self.revisions.get(&command.tenant).map_or(0, |known| known.1);
        let revision = counter + 1;
        self.revisions.insert(command.tenant.clone(), (revision, latest.max(stamp_ms)));
        if new.is_empty() {
            self.scrolls.remove(&place);
        } else {
            let created_ms = old.map_or(stamp_ms, |scroll| scroll.created_ms);
            let scroll = ModelScroll { text: new, revision, created_ms, modified_ms: stamp_ms };
            self.scrolls.insert(place, scroll);
        }
        ok(revision, bytes as u64)
    }
}

fn place(command: &Command, op: &Op) -> Place {
    (command.tenant.clone(), op.phext.clone(), op.coordinate.clone())
}

fn failed(command: &Command, at: usize, result: OpResult) -> Vec<OpResult> {
    let mut results = vec![refused(OpStatus::OpAborted, 0); command.ops.len()];
    results[at] = result;
    results
}

fn any_op() -> impl Strategy<Value = Op> {
    let text = prop_oneof![
        64 => "[a-c\n]{0,12}",
        // Past the size from which texts live in blob files.
        8 => (9_000..12_000_usize).prop_map(|length| "x".repeat(length)),
        // About the size from which texts are in parts.
        1 => (PART_BYTES - 2..PART_BYTES + 3).prop_map(|length| "y".repeat(length)),
        1 => (400_000..2_500_000_usize).prop_map(|length| "z".repeat(length)),
    ];
    let kind = prop_oneof![Just(1_i32), Just(2), Just(2), Just(3), Just(3), Just(3), Just(4)];
    let revision = prop::option::weighted(0.2, 0..4_u64);
    (kind, 0..PHEXTS.len(), 0..COORDINATES.len(), text, revision).prop_map(
        |(kind, phext, coordinate, text, if_revision)| Op {
            kind,
            phext: PHEXTS[phext].into(),
            coordinate: key(COORDINATES[coordinate]).into(),
            text: text.into(),
            if_revision,
            ..Op::default()
        },
    )
}

/// A command; its request id and idempotency key are drawn from few, so that they repeat.
fn any_command() -> impl Strategy<Value = Command> {
    let (one, few) = (prop::collection::vec(any_op(), 1), prop::collection::vec(any_op(), 0..5));
    let ops = prop_oneof![2 => one, 1 => few];
    let idempotency = prop::option::weighted(0.3, (0..3_u8, 0..2_u8));
    let quota = prop_oneof![100..20_000_u64, 1_000_000..6_000_000_u64];
    let quota = prop::option::weighted(0.4, quota);
    (0..40_u8, 0..TENANTS.len(), ops, any::<bool>(), quota, idempotency).prop_map(
        |(id, tenant, ops, independent, quota_bytes, idempotency)| Command {
            request_id: vec![id; 16].into(),
            tenant: TENANTS[tenant].into(),
            ops,
            independent,
            quota_bytes,
            scroll_max_bytes: Some(SCROLL_MAX),
            idempotency: idempotency.map(|(key, content)| Idempotency {
                key: vec![key; 16].into(),
                content: vec![content; 16].into(),
            }),
            ..Command::default()
        },
    )
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    Flush,
    Reopen,
    Crash,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => Just(Event::Nothing),
        1 => Just(Event::Flush),
        1 => Just(Event::Reopen),
        1 => Just(Event::Crash),
    ]
}

/// A command, and whether it arrives in parts.
type Sent = (Command, bool);

/// An entry with its commands as they were before some were cut into parts, whether a batch ends
/// after it, and what befalls the second replica.
type Step = (ShardEntry, Vec<Sent>, bool, Event);

fn any_history() -> impl Strategy<Value = Vec<Step>> {
    let sent = (any_command(), prop::bool::weighted(0.3));
    let one = (prop::collection::vec(sent, 0..4), 0..2_000_u64, any::<bool>(), any_event());
    prop::collection::vec(one, 1..40).prop_map(|history| {
        let mut stamp_ms = 0;
        let stamped =
            history.into_iter().map(|(sent, passed, ends, event)| {
                stamp_ms += passed;
                let commands = sent.iter().flat_map(|(command, cut)| {
                    if *cut { in_parts(command) } else { vec![command.clone()] }
                });
                (entry(stamp_ms, commands.collect()), sent, ends, event)
            });
        stamped.collect()
    })
}

/// What an entry must be answered: all parts well, and their commit what the whole is.
fn answers(model: &mut Model, stamp_ms: u64, sent: &[Sent]) -> Vec<CommandResult> {
    let staged = CommandResult { results: vec![ok(0, 0)], repeated_request: false };
    let each = sent.iter().flat_map(|(command, cut)| {
        let parts = if *cut { in_parts(command).len() - 1 } else { 0 };
        let whole = model.command(stamp_ms, command);
        vec![staged.clone(); parts].into_iter().chain([whole])
    });
    each.collect()
}

fn befall(replica: &mut Replica, event: Event) {
    match event {
        Event::Nothing => {}
        Event::Flush => {
            replica.store().flush_and_publish().unwrap();
            assert_eq!(replica.reader().durable_applied(), replica.reader().applied());
        }
        Event::Reopen => replica.reopen(),
        Event::Crash => {
            let durable = replica.reader().durable_applied();
            let next = replica.crash();
            assert!(next > durable || next == 0 && durable == 0, "{next} {durable}");
        }
    }
}

fn pages(replica: &Replica, tenant: &str, mut scan: ScanScrolls) -> Vec<Scroll> {
    let mut scrolls = Vec::new();
    loop {
        let page = replica.reader().scan(tenant, &scan).unwrap();
        scrolls.extend(page.scrolls);
        if !page.more {
            return scrolls;
        }
        scan.after = page.next_after;
    }
}

fn check(replica: &Replica, model: &Model) {
    for tenant in TENANTS {
        assert_eq!(replica.reader().usage(tenant).unwrap(), model.usage(tenant));
        for phext in PHEXTS {
            let scan = ScanScrolls { phext: phext.into(), texts: true, ..Default::default() };
            let found = pages(replica, tenant, scan);
            let own =
                model.scrolls.iter().filter(|(place, _)| place.0 == tenant && place.1 == phext);
            let found: Vec<_> = found
                .into_iter()
                .map(|scroll| {
                    let text = scroll.text.unwrap_or_else(|| {
                        // In parts: to be had whole one by one.
                        assert!(scroll.parts > 1);
                        let found = replica.reader().get(tenant, phext, &scroll.coordinate);
                        let (header, text) = found.unwrap().unwrap();
                        assert_eq!(header.hash, xxhash_rust::xxh3::xxh3_128(&text));
                        text
                    });
                    let (revision, created_ms) = (scroll.revision, scroll.created_ms);
                    let modified_ms = scroll.modified_ms;
                    (scroll.coordinate, ModelScroll { text, revision, created_ms, modified_ms })
                })
                .collect();
            let own: Vec<_> =
                own.map(|(place, scroll)| (place.2.clone(), scroll.clone())).collect();
            assert!(found == own, "{tenant} {phext}: {} and {}", found.len(), own.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 200, ..Default::default() })]

    #[test]
    fn replicas_and_model_agree(history in any_history()) {
        let mut model = Model::default();
        let (mut steady, mut shaken) = (Replica::new(), Replica::new());
        let mut pending: Vec<ShardEntry> = Vec::new();
        let mut expected: Vec<Vec<CommandResult>> = Vec::new();
        let entries: Vec<_> = history.iter().map(|(entry, ..)| entry.clone()).collect();
        for (entry, sent, ends, event) in history {
            expected.push(answers(&mut model, entry.stamp_ms, &sent));
            pending.push(entry);
            if ends {
                let first = expected.len() - pending.len();
                prop_assert_eq!(steady.apply(&std::mem::take(&mut pending)), &expected[first..]);
            }
            let from = usize::try_from(shaken.next).unwrap();
            let answers = shaken.apply(&entries[from..expected.len()]);
            prop_assert_eq!(answers, &expected[from..]);
            befall(&mut shaken, event);
        }
        steady.apply(&pending);
        let from = usize::try_from(shaken.next).unwrap();
        shaken.apply(&entries[from..]);
        check(&steady, &model);
        check(&shaken, &model);
        prop_assert_eq!(steady.rows(), shaken.rows());
    }
}
