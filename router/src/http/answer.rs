//! Answers: a body that is at hand, or one that is made piece by piece while it is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::Stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

use crate::forward::ForwardError;
use crate::http::guard::InFlight;
use crate::large::Share;
use crate::request_log::Line;

/// An answer to one request.
pub type Answer = Response<AnswerBody>;

/// Pieces of a long body. An error in the middle breaks the connection off, so that nobody takes
/// a part for the whole.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, ForwardError>> + Send>>;

/// What plain answers are made of.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// What JSON answers are made of.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// JSON that describes an error (RFC 9457).
pub const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Most bytes handed to a connection at once.
const PIECE_BYTES: usize = 256 << 10;

/// The body of an [`Answer`]. It also keeps its connection counted as busy until it is sent.
pub struct AnswerBody {
    content: Content,
    pub(crate) in_flight: Option<InFlight>,
    line: Option<Box<Line>>,
    /// Memory a large text takes until it is sent.
    pub(crate) share: Option<Share>,
}

enum Content {
    Whole(Bytes),
    Pieces(Pieces),
}

impl AnswerBody {
    /// The length in bytes, when it is known before sending.
    pub fn known_length(&self) -> Option<usize> {
        match &self.content {
            Content::Whole(bytes) => Some(bytes.len()),
            Content::Pieces(_) => None,
        }
    }

    /// Has a line logged: now if the body is at hand, else when it has been sent.
    pub(crate) fn log(&mut self, mut line: Line) {
        match self.known_length() {
            // Said when it is dropped here.
            Some(length) => line.bytes = length as u64,
            None => self.line = Some(Box::new(line)),
        }
    }
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self { content: Content::Whole(bytes), in_flight: None, line: None, share: None }
    }
}

impl From<Pieces> for AnswerBody {
    fn from(pieces: Pieces) -> Self {
        Self { content: Content::Pieces(pieces), in_flight: None, line: None, share: None }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let this = self.get_mut();
        match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            // A large body goes out in pieces, so that it is not thought sent while most of it
            // waits for the client.
            Content::Whole(bytes) => {
                let length = bytes.len().min(PIECE_BYTES);
                Poll::Ready(Some(Ok(Frame::data(bytes.split_to(length)))))
            }
            Content::Pieces(pieces) => {
                let piece = pieces.as_mut().poll_next(cx);
                if let (Poll::Ready(Some(Ok(piece))), Some(line)) = (&piece, &mut this.line) {
                    line.bytes += piece.len() as u64;
                }
                piece.map_ok(Frame::data)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A 200 of one content type.
pub fn of(content_type: HeaderValue, body: impl Into<AnswerBody>) -> Answer {
    let mut answer = Response::new(body.into());
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// A 200 with a text.
pub fn text(text: impl Into<Bytes>) -> Answer {
    of(TEXT, text.into())
}

/// A 200 with a text that is made while it is sent.
pub fn pieces(content_type: HeaderValue, pieces: Pieces) -> Answer {
    of(content_type, pieces)
}

/// A JSON answer. Only used for values of this crate, whose keys are all strings.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Serializing can only fail for maps with other keys than strings, of which there are none.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = of(JSON, Bytes::from(bytes));
    *answer.status_mut() = status;
    answer
}

/// An answer that is a status and nothing else.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new().into());
    *answer.status_mut() = status;
    answer
}
