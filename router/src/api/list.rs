//! `list/{prefix}`: which coordinates a pattern covers, as lines or as JSON, with their sizes,
//! revisions and times when asked for.

use ranch_proto::schema::{ScanScrolls, Scroll};
use ranch_proto::{Coordinate, Pattern, Shards};
use serde::Serialize;

use crate::api::pages::{self, Pages, Render};
use crate::api::{Call, scrolls};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::ForwardError;
use crate::http::answer::{Answer, JSON, TEXT};
use crate::http::{date, negotiate};

/// Answers a list. `limit` ends it early, `after` continues behind a coordinate.
pub async fn answer<S: Shards>(
    call: &Call<'_, S>,
    caller: &Caller,
    prefix: &str,
) -> Result<Answer, ApiError> {
    let pattern = Pattern::parse(prefix)?;
    let after = call.query.get("after").map(Coordinate::parse).transpose()?;
    let scan = ScanScrolls {
        phext: scrolls::phext(call.query)?,
        after: after.map(|coordinate| coordinate.to_key()).unwrap_or_default().into(),
        pattern: pattern.to_string(),
        ..ScanScrolls::default()
    };
    let long = call.query.flag("long")?;
    let pages = Pages::new(call, caller, scan, call.query.number("limit")?)?;
    if negotiate::asks_for_json(call.headers) {
        pages::answer(pages, JSON, JsonList { last: None }).await
    } else {
        pages::answer(pages, TEXT, Lines { long }).await
    }
}

/// A coordinate a line; in the long form size, revision and time of the last change follow, parted
/// by tabs.
struct Lines {
    long: bool,
}

impl Render for Lines {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn scroll(&mut self, scroll: &Scroll, out: &mut Vec<u8>) -> Result<(), ForwardError> {
        let coordinate = pages::coordinate(scroll)?;
        let line = if self.long {
            let modified = date::rfc3339(scroll.modified_ms);
            format!("{coordinate}\t{}\t{}\t{modified}\n", scroll.length, scroll.revision)
        } else {
            format!("{coordinate}\n")
        };
        out.extend_from_slice(line.as_bytes());
        Ok(())
    }

    fn end(&mut self, _: bool, _: &mut Vec<u8>) {}
}

/// `{"results":[…],"next":…}`, where `next` is what to pass as `after` when there is more.
struct JsonList {
    last: Option<String>,
}

#[derive(Serialize)]
struct Item<'a> {
    coordinate: &'a str,
    size: u64,
    revision: u64,
    modified: String,
}

impl Render for JsonList {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"results\":[");
    }

    fn scroll(&mut self, scroll: &Scroll, out: &mut Vec<u8>) -> Result<(), ForwardError> {
        let coordinate = pages::coordinate(scroll)?.to_string();
        if self.last.is_some() {
            out.push(b',');
        }
        let item = Item {
            coordinate: &coordinate,
            size: scroll.length,
            revision: scroll.revision,
            modified: date::rfc3339(scroll.modified_ms),
        };
        // Neither writing to a Vec nor serializing this struct can fail.
        serde_json::to_writer(out, &item).map_err(|_| ForwardError::Garbled)?;
        self.last = Some(coordinate);
        Ok(())
    }

    fn end(&mut self, cut: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"],\"next\":");
        match &self.last {
            // A coordinate has no character that JSON would escape.
            Some(last) if cut => out.extend_from_slice(format!("\"{last}\"").as_bytes()),
            _ => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
}
