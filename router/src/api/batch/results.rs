//! What a batch is answered: one result an op, in order.

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use ranch_proto::Coordinate;
use ranch_proto::schema::{Op, OpResult, op::Kind};
use serde::{Serialize, Serializer};

use crate::api::scrolls::REVISION;
use crate::error::ApiError;
use crate::http::answer::{self, Answer};
use crate::large::Share;

/// One op's result.
#[derive(Debug, Serialize)]
pub struct Item {
    status: u16,
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Results being gathered.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    results: Vec<Item>,
    /// The last revision given out.
    #[serde(skip)]
    revision: Option<u64>,
}

impl Item {
    /// The result of an op that was carried out.
    ///
    /// # Errors
    /// [`ApiError::Garbled`] for a text that is none.
    pub fn done(op: &Op, result: OpResult) -> Result<Self, ApiError> {
        if op.kind() == Kind::Read && result.revision == 0 {
            let coordinate = Coordinate::from_key(&op.coordinate).map_err(|_| ApiError::Garbled)?;
            // The batch as a whole says how far a stale read goes.
            let coordinate = coordinate.to_string();
            let none = ApiError::NoScroll { coordinate, applied: None };
            return Ok(Self::refused(&none, 0));
        }
        if result.text.as_ref().is_some_and(|text| std::str::from_utf8(text).is_err()) {
            return Err(ApiError::Garbled);
        }
        let (status, revision) = (StatusCode::OK.as_u16(), result.revision);
        Ok(Self { status, revision, text: result.text.map(Text), error: None })
    }

    /// The result of an op that was refused; `found` is its scroll's revision where that is why.
    pub fn refused(error: &ApiError, found: u64) -> Self {
        let status = error.status().as_u16();
        Self { status, revision: found, text: None, error: Some(error.to_string()) }
    }
}

impl Results {
    /// Adds the result of an op; `None` for one that never went to the shard.
    pub fn add(&mut self, op: Option<&Op>, item: Item) {
        let changed = op.is_some_and(|op| op.kind() != Kind::Read) && item.error.is_none();
        if changed {
            self.revision = self.revision.max(Some(item.revision));
        }
        self.results.push(item);
    }

    /// The answer. `share` is the memory its texts take.
    pub fn answer(self, share: Option<Share>) -> Answer {
        let mut answer = answer::json(StatusCode::OK, &self);
        if let Some(revision) = self.revision {
            answer.headers_mut().insert(REVISION, HeaderValue::from(revision));
        }
        answer.body_mut().share = share;
        answer
    }
}

/// A text that has been found to be one.
#[derive(Debug)]
struct Text(Bytes);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Checked when it was made.
        to.serialize_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}
