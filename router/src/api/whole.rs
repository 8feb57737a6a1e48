//! A phext as a whole, or a part of it: its text, its table of contents, its size and checksum,
//! its JSON form, what differs from a list of checksums, what a query asks for. All are made page
//! by page; a text's size is known before its first byte is sent.

mod delta;
mod listing;
mod query;
pub(crate) mod text;

use futures_util::stream;
use hyper::body::Incoming;
use ranch_proto::phext::{self, Checksum};
use ranch_proto::schema::{ScanScrolls, Scroll};
use ranch_proto::{Coordinate, Shards};

use crate::api::describe::{
    self, FRESH, HttpMethod, Operation, P, Parameter, Reply, S, SCROLL, operation,
    query as parameter, reply, text as plain,
};
use crate::api::pages::{self, Pages, Render};
use crate::api::{Call, Methods, scrolls};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{self, Answer, JSON, TEXT};

use text::Text;

/// The endpoints that concern a whole phext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The phext text.
    Get,
    /// A line a scroll.
    Toc,
    /// XXH3-128 of the phext text.
    Checksum,
    /// Four lines of facts.
    Status,
    /// Coordinates and texts as JSON.
    JsonExport,
    /// The scrolls that differ from a list of checksums, as phext text.
    Delta,
    /// The scrolls of a range and of a set of coordinates, as JSON.
    Query,
}

impl Endpoint {
    /// The endpoint of this name.
    pub fn find(name: &str) -> Option<Self> {
        Some(match name {
            "get" => Self::Get,
            "toc" => Self::Toc,
            "checksum" => Self::Checksum,
            "status" => Self::Status,
            "json-export" => Self::JsonExport,
            "delta" => Self::Delta,
            "query" => Self::Query,
            _ => return None,
        })
    }

    /// The methods it takes.
    pub fn methods(self) -> Methods {
        match self {
            Self::Delta | Self::Query => Methods::ASK,
            _ => Methods::READ,
        }
    }

    /// Whether it answers in JSON, so that its errors do too.
    pub fn speaks_json(self) -> bool {
        self == Self::JsonExport
    }
}

/// Answers one of the endpoints for whole phexts.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    endpoint: Endpoint,
    body: Incoming,
) -> Result<Answer, ApiError> {
    let phext = scrolls::phext(call.query)?;
    match endpoint {
        Endpoint::Get => get(call, caller, phext).await,
        Endpoint::Checksum => checksum(call, caller, phext).await,
        Endpoint::Status => status(call, caller, phext).await,
        Endpoint::Toc => {
            let scan = ScanScrolls { phext, whole_lines: true, ..ScanScrolls::default() };
            pages::answer(Pages::new(call, caller, scan, None)?, TEXT, Toc { empty: true }).await
        }
        Endpoint::JsonExport => {
            let scan = ScanScrolls { phext, texts: true, ..ScanScrolls::default() };
            let render = JsonExport { empty: true };
            pages::answer(Pages::new(call, caller, scan, None)?, JSON, render).await
        }
        Endpoint::Delta => delta::answer(call, caller, phext, body).await,
        Endpoint::Query => query::answer(call, caller, phext, body).await,
    }
}

async fn get<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    phext: String,
) -> Result<Answer, ApiError> {
    let (text, applied) = text::open(call, caller, phext).await?;
    let pieces = stream::try_unfold(text, |mut text| async move {
        Ok(text.next().await?.map(|piece| (piece, text)))
    });
    let mut answer = answer::pieces(TEXT, Box::pin(pieces));
    scrolls::mark_stale(&mut answer, applied);
    Ok(answer)
}

async fn checksum<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    phext: String,
) -> Result<Answer, ApiError> {
    let (mut text, applied): (Text<S>, _) = text::open(call, caller, phext).await?;
    let mut checksum = Checksum::new();
    while let Some(piece) = text.next().await? {
        checksum.update(&piece);
    }
    let mut answer = answer::text(checksum.hex());
    scrolls::mark_stale(&mut answer, applied);
    Ok(answer)
}

/// Named scrolls have no place in phext text, but are counted here with their bytes.
async fn status<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    phext: String,
) -> Result<Answer, ApiError> {
    let scan = ScanScrolls { phext: phext.clone(), ..ScanScrolls::default() };
    let mut pages = Pages::new(call, caller, scan, None)?;
    let (mut bytes, mut count, mut at) = (0, 0_u64, [1; 9]);
    let applied = loop {
        let page = pages.next().await?;
        count += page.scrolls.len() as u64;
        for scroll in &page.scrolls {
            bytes += scroll.length;
            if let Coordinate::Numeric(coordinate) = pages::coordinate(scroll)? {
                bytes += phext::delimiters_between(at, coordinate);
                at = coordinate;
            }
        }
        if page.last {
            break page.applied;
        }
    };
    let mut answer = answer::text(format!(
        "Hosting: {phext}.phext\nConnection ID: {}\nPhext Size: {bytes}\nScrolls: {count}",
        call.connection
    ));
    scrolls::mark_stale(&mut answer, applied);
    Ok(answer)
}

/// `* C: first line`, with `...` where more follows.
struct Toc {
    empty: bool,
}

impl Render for Toc {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn scroll(&mut self, scroll: &Scroll, out: &mut Vec<u8>) -> Result<(), ForwardError> {
        self.empty = false;
        let coordinate = pages::coordinate(scroll)?;
        let more = if scroll.more_lines { "..." } else { "" };
        let line = format!("* {coordinate}: {}{more}\n", scroll.first_line);
        out.extend_from_slice(line.as_bytes());
        Ok(())
    }

    /// SQ shows an empty phext as its empty first scroll.
    fn end(&mut self, _: bool, out: &mut Vec<u8>) {
        if self.empty {
            out.extend_from_slice(format!("* {}: \n", Coordinate::ORIGIN).as_bytes());
        }
    }
}

/// `[{"coord":"…","scroll":"…"},…]`.
struct JsonExport {
    empty: bool,
}

impl Render for JsonExport {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.push(b'[');
    }

    fn scroll(&mut self, scroll: &Scroll, out: &mut Vec<u8>) -> Result<(), ForwardError> {
        if !std::mem::take(&mut self.empty) {
            out.push(b',');
        }
        let text = scroll.text.as_deref().unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| ForwardError::Garbled)?;
        // A coordinate has no character that JSON would escape.
        let coordinate = pages::coordinate(scroll)?;
        out.extend_from_slice(format!("{{\"coord\":\"{coordinate}\",\"scroll\":").as_bytes());
        serde_json::to_writer(&mut *out, text).map_err(|_| ForwardError::Garbled)?;
        out.push(b'}');
        Ok(())
    }

    fn end(&mut self, _: bool, out: &mut Vec<u8>) {
        out.push(b']');
    }
}

const EXPORT: &str = r#"{
    "type": "array",
    "items": {
        "type": "object",
        "required": ["coord", "scroll"],
        "properties": {"coord": {"type": "string"}, "scroll": {"type": "string"}}
    }
}"#;
const RESULTS: &str = r#"{
    "type": "array",
    "items": {
        "type": "object",
        "required": ["coordinate", "scroll"],
        "properties": {"coordinate": {"type": "string"}, "scroll": {"type": "string"}}
    }
}"#;
const ASK: &[Parameter] = &[
    P,
    parameter("from", describe::STRING, "First coordinate of a range."),
    parameter("to", describe::STRING, "Last coordinate of the range."),
    parameter("set", describe::STRING, "Coordinates parted by commas; else the body."),
    parameter("limit", describe::NUMBER, "Most results."),
    FRESH,
];
const FOUND: &[Reply] = &[reply(200, &[("application/json", RESULTS)], "Scrolls, in order.")];
const DIFFERENT: &[Reply] = &[plain("Phext text of the scrolls that differ.")];

/// The endpoints for whole phexts, described.
pub static OPERATIONS: &[Operation] = &[
    operation(HttpMethod::Get, "get", "The phext text", &[P, FRESH], &[plain("The phext text.")]),
    operation(
        HttpMethod::Get,
        "toc",
        "A line a scroll",
        &[P, FRESH],
        &[plain("`* C: first line`.")],
    ),
    operation(
        HttpMethod::Get,
        "checksum",
        "XXH3-128 of the phext text",
        &[P, FRESH],
        &[plain("32 hex digits.")],
    ),
    operation(
        HttpMethod::Get,
        "status",
        "Four lines of facts",
        &[P, FRESH],
        &[plain("Four lines.")],
    ),
    operation(
        HttpMethod::Get,
        "json-export",
        "All scrolls as JSON",
        &[P, FRESH],
        &[reply(200, &[("application/json", EXPORT)], "Scrolls, in order.")],
    ),
    operation(HttpMethod::Get, "delta", "What differs from a list", &[P, S, FRESH], DIFFERENT),
    operation(HttpMethod::Post, "delta", "What differs from a list", &[P, S, FRESH], DIFFERENT)
        .with_body(SCROLL),
    operation(HttpMethod::Get, "query", "Scrolls of a range and of a set", ASK, FOUND),
    operation(HttpMethod::Post, "query", "Scrolls of a range and of a set", ASK, FOUND)
        .with_body(SCROLL),
];
