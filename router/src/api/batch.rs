//! `batch`: many operations in one request. A batch that only reads is one read of its shard, as
//! of one moment; any other is one command, applied in one step. Either way it is one hop.

mod request;
mod results;

use bytes::Bytes;
use hyper::body::Incoming;
use prost::Message as _;
use ranch_proto::phext::PhextName;
use ranch_proto::schema::{
    Command, CommandResult, GetMany, GetScroll, Op, OpResult, OpStatus, Scroll, op::Kind,
    read_reply, read_request,
};
use ranch_proto::{Coordinate, RequestId, Shards};

use crate::api::describe::{FRESH, HttpMethod, ONCE, Operation, P, json_body, operation, reply};
use crate::api::scrolls::{self, content_of, delimiter_in, hash};
use crate::api::source::Source;
use crate::api::{Call, Methods};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::Answer;
use crate::http::body;
use crate::large::{SMALL_BYTES, Share};

use request::{Given, Request};
use results::{Item, Results};

/// Largest body, in bytes.
const BODY_MAX: u64 = 16 << 20;
/// Most operations.
const OPS_MAX: usize = 10_000;
/// Most bytes of texts a batch that only reads is answered with.
const READ_MAX: u64 = 16 << 20;
/// Most bytes of addresses in one read, so that it fits a message between processes.
const ADDRESSES_MAX: usize = 6 << 20;
/// How often a batch of reads is begun anew because a large text changed meanwhile.
const ATTEMPTS: u32 = 8;

/// Reading needs no right to write, which is checked when the operations are known.
pub const METHODS: Methods = Methods { read: &[http::Method::POST], write: &[], names: "POST" };

/// A batch that can be carried out.
struct Batch {
    /// Each op as it goes to the shard, or why it does not.
    ops: Vec<Result<Op, ApiError>>,
    atomic: bool,
}

/// Answers a batch.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let options = &call.app.options;
    let read = body::read_large(body, BODY_MAX, options.body_timeout, &call.app.budget);
    // Kept until all is done: the operations hold the body's texts.
    let (body, _share) = read.await?;
    let Request { ops, atomic } = Request::parse(&body, OPS_MAX)?;
    drop(body);
    if ops.iter().any(|op| op.kind != Kind::Read) && !caller.may_write {
        return Err(ApiError::ReadOnlyKey);
    }
    let checker =
        Checker { phext: call.query.get("p"), text_max: call.app.options.scroll_max_bytes };
    let ops = ops.into_iter().map(|op| checker.op(op)).collect();
    let batch = Batch { ops, atomic };
    batch.refuse_if_atomic()?;
    if batch.sent().all(|op| op.kind() == Kind::Read) {
        read_all(call, caller, &batch).await
    } else {
        carry_out(call, caller, &batch).await
    }
}

/// What an op of the request must keep to.
struct Checker<'a> {
    /// The phext of ops that name none.
    phext: Option<&'a str>,
    text_max: u64,
}

impl Checker<'_> {
    fn op(&self, given: Given) -> Result<Op, ApiError> {
        let phext = given.p.as_deref().or(self.phext).map(PhextName::parse).transpose()?;
        let missing = |field| ApiError::BadParameter { field, expected: "given" };
        let coordinate = Coordinate::parse(&given.c.ok_or_else(|| missing("c"))?)?;
        let text = match given.kind {
            Kind::Write | Kind::Append => given.text.ok_or_else(|| missing("text"))?,
            _ if given.text.is_some() => {
                let expected = "left out of what neither writes nor appends";
                return Err(ApiError::BadParameter { field: "text", expected });
            }
            _ => String::new(),
        };
        if text.len() as u64 > self.text_max {
            return Err(ApiError::ScrollTooLarge { limit: self.text_max });
        }
        if let Some(error) = delimiter_in(text.as_bytes()) {
            return Err(error);
        }
        // An empty scroll is none.
        let removes = given.kind == Kind::Write && text.is_empty();
        Ok(Op {
            kind: if removes { Kind::Delete } else { given.kind }.into(),
            phext: phext.unwrap_or_default().into_string(),
            coordinate: coordinate.to_key().into(),
            text: text.into(),
            if_revision: given.if_rev,
            ..Op::default()
        })
    }
}

impl Batch {
    /// All or nothing: one op that cannot be carried out refuses an atomic batch.
    fn refuse_if_atomic(&self) -> Result<(), ApiError> {
        let failed =
            self.ops.iter().enumerate().find_map(|(at, op)| Some((at, op.as_ref().err()?)));
        match failed {
            Some((at, error)) if self.atomic => Err(error.clone().of_op(at)),
            _ => Ok(()),
        }
    }

    /// The ops that go to the shard.
    fn sent(&self) -> impl Iterator<Item = &Op> {
        self.ops.iter().flatten()
    }

    /// The answer, given one outcome for each op that went to the shard.
    fn answer(
        &self,
        outcomes: Vec<Result<OpResult, ApiError>>,
        share: Option<Share>,
    ) -> Result<Answer, ApiError> {
        let mut outcomes = outcomes.into_iter();
        let mut results = Results::default();
        for (at, op) in self.ops.iter().enumerate() {
            let item = match op {
                Err(error) => Item::refused(error, 0),
                Ok(op) => match outcomes.next().ok_or(ApiError::Garbled)? {
                    Ok(result) => Item::done(op, result)?,
                    Err(error) if self.atomic && error.fails_a_batch() => {
                        return Err(error.of_op(at));
                    }
                    Err(error) => Item::refused(&error, error.revision_found()),
                },
            };
            results.add(op.as_ref().ok(), item);
        }
        Ok(results.answer(share))
    }
}

/// A batch that only reads.
async fn read_all<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    batch: &Batch,
) -> Result<Answer, ApiError> {
    let source = Source::new(call, caller)?;
    let get = |op: &Op| GetScroll { phext: op.phext.clone(), coordinate: op.coordinate.clone() };
    let many = GetMany { scrolls: batch.sent().map(get).collect() };
    if many.encoded_len() > ADDRESSES_MAX {
        let expected = "fewer: their addresses together are too long for one read";
        return Err(ApiError::BadParameter { field: "ops", expected });
    }
    if many.scrolls.is_empty() {
        return batch.answer(Vec::new(), None);
    }
    for _ in 0..ATTEMPTS {
        let (Some(read_reply::What::Many(found)), applied) =
            source.ask(read_request::What::Many(many.clone())).await?
        else {
            return Err(ApiError::Garbled);
        };
        let scrolls: Vec<_> = found.scrolls.into_iter().map(|reply| reply.scroll).collect();
        let bytes = scrolls.iter().flatten().map(|scroll| scroll.length).sum::<u64>();
        if bytes > READ_MAX {
            return Err(ApiError::BatchReadsTooMuch { limit: READ_MAX });
        }
        let large = bytes > SMALL_BYTES;
        let share = if large { Some(call.app.budget.take(bytes).await?) } else { None };
        if let Some(scrolls) = with_texts(&source, &many, scrolls).await? {
            let ops = batch.sent().zip(scrolls);
            let outcomes = ops.map(|(op, scroll)| read_outcome(op, scroll)).collect();
            let mut answer = batch.answer(outcomes, share)?;
            scrolls::mark_stale(&mut answer, applied);
            return Ok(answer);
        }
    }
    Err(ForwardError::Unavailable.into())
}

/// The scrolls with the texts that the first answer left out, at the revisions it had; `None` when
/// one of them has another by now.
async fn with_texts<S: Shards>(
    source: &Source<S>,
    asked: &GetMany,
    mut scrolls: Vec<Option<Scroll>>,
) -> Result<Option<Vec<Option<Scroll>>>, ApiError> {
    if scrolls.len() != asked.scrolls.len() {
        return Err(ApiError::Garbled);
    }
    for (get, scroll) in asked.scrolls.iter().zip(&mut scrolls) {
        let Some(scroll) = scroll.as_mut().filter(|scroll| scroll.parts > 0) else { continue };
        match source.text(&get.phext, scroll).await? {
            Some(text) => scroll.text = Some(text),
            None => return Ok(None),
        }
    }
    Ok(Some(scrolls))
}

/// What reading an op's scroll comes to.
fn read_outcome(op: &Op, scroll: Option<Scroll>) -> Result<OpResult, ApiError> {
    let found = scroll.as_ref().map_or(0, |scroll| scroll.revision);
    if op.if_revision.is_some_and(|wanted| wanted != found) {
        return Err(ApiError::Changed { found });
    }
    Ok(OpResult {
        status: OpStatus::OpOk.into(),
        revision: found,
        bytes: scroll.as_ref().map_or(0, |scroll| scroll.length),
        text: scroll.and_then(|scroll| scroll.text),
    })
}

/// A batch that changes something.
async fn carry_out<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    batch: &Batch,
) -> Result<Answer, ApiError> {
    let ops: Vec<Op> = batch.sent().cloned().collect();
    let content = || {
        let each: Vec<Bytes> = ops.iter().map(content_of).collect();
        hash([b"batch", &[u8::from(batch.atomic)], &each.concat()])
    };
    let command = Command {
        request_id: Bytes::copy_from_slice(&RequestId::random().0),
        tenant: caller.tenant.clone(),
        idempotency: scrolls::idempotency(call, &caller.tenant, content)?,
        independent: !batch.atomic,
        ops,
        ..Command::default()
    };
    let CommandResult { results, repeated_request } =
        call.app.forward.command(caller.shard, command).await?;
    // These are about the whole of a command, whatever is in it.
    match results.first().map(OpResult::status) {
        Some(OpStatus::OpKeyReused) => return Err(ApiError::KeyReused),
        Some(OpStatus::OpTenantGone) => return Err(ApiError::Unauthorized),
        _ => {}
    }
    let failed = results
        .iter()
        .position(|result| !matches!(result.status(), OpStatus::OpOk | OpStatus::OpAborted));
    let outcomes = batch.sent().zip(results).enumerate().map(|(at, (op, result))| {
        match outcome(op, &result) {
            Ok(()) => Ok(result),
            // The others were not carried out because of the one that failed.
            Err(_) if failed.is_some_and(|failed| failed != at) && batch.atomic => Ok(result),
            Err(error) => Err(error),
        }
    });
    let outcomes = outcomes.collect();
    if repeated_request {
        tracing::debug!("a batch was answered as before");
    }
    batch.answer(outcomes, None)
}

/// What became of an op of a command.
fn outcome(op: &Op, result: &OpResult) -> Result<(), ApiError> {
    let reads = op.kind() == Kind::Read;
    match result.status() {
        OpStatus::OpTooLarge if reads => {
            Err(ApiError::BatchReadsTooMuch { limit: ranch_proto::value::WHOLE_MAX })
        }
        // In the answer to a retry, which has the first answer's revisions but not its texts.
        OpStatus::OpAborted => Err(ApiError::ChangedSince),
        OpStatus::OpOk if reads && result.revision > 0 && result.text.is_none() => {
            Err(ApiError::ChangedSince)
        }
        _ => scrolls::check(result),
    }
}

const FORM: &str = r#"{
    "type": "object",
    "required": ["ops"],
    "additionalProperties": false,
    "properties": {
        "ops": {
            "type": "array",
            "maxItems": 10000,
            "items": {
                "type": "object",
                "required": ["op", "c"],
                "additionalProperties": false,
                "properties": {
                    "op": {"type": "string", "enum": ["read", "write", "append", "delete"]},
                    "p": {"type": "string"},
                    "c": {"type": "string", "examples": ["1.1.1/1.1.1/1.1.1"]},
                    "text": {"type": "string"},
                    "if_rev": {"type": "integer", "minimum": 0}
                }
            }
        },
        "atomic": {"type": "boolean", "default": true}
    }
}"#;
const RESULTS: &str = r#"{
    "type": "object",
    "required": ["results"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status", "revision"],
                "properties": {
                    "status": {"type": "integer"},
                    "revision": {"type": "integer", "minimum": 0},
                    "text": {"type": "string"},
                    "error": {"type": "string"}
                }
            }
        }
    }
}"#;

/// What `openapi.json` says of it.
pub const OPERATIONS: &[Operation] = &[operation(
    HttpMethod::Post,
    "batch",
    "Carries out many operations, all or nothing unless `atomic` is false",
    &[P, FRESH, ONCE],
    &[reply(200, &[("application/json", RESULTS)], "A result for each operation, in order.")],
)
.with_body(json_body(FORM))];
