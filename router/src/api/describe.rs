//! How an endpoint says what it is: the words its file's table of operations is written in. The
//! description served at `openapi.json` is made from these tables and nothing else.

pub use utoipa::openapi::HttpMethod;

/// One way to call one endpoint.
pub struct Operation {
    /// The method; HEAD comes with GET and is not told.
    pub method: HttpMethod,
    /// Path below the base, or whole when it begins with `/`; `{name}` stands for an argument.
    pub path: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What it takes, the path's arguments too.
    pub parameters: &'static [Parameter],
    /// What its body may be.
    pub body: Option<Body>,
    /// What it answers when all is well.
    pub answers: &'static [Reply],
}

/// Where a parameter is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the query.
    Query,
    /// In the path.
    Path,
    /// In a header.
    Header,
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it is given.
    pub place: Place,
    /// Its form, as a JSON schema.
    pub schema: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// Its content type; for a scroll any will do.
    pub content_type: &'static str,
    /// Its form, as a JSON schema.
    pub schema: &'static str,
    /// Whether there must be one.
    pub required: bool,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its content types, each with its form as a JSON schema; none without a body.
    pub content: &'static [(&'static str, &'static str)],
    /// What it says.
    pub about: &'static str,
}

/// A text.
pub const STRING: &str = r#"{"type":"string"}"#;
/// A whole number.
pub const NUMBER: &str = r#"{"type":"integer","minimum":0}"#;
/// Yes or no.
pub const FLAG: &str = r#"{"type":"boolean"}"#;
const COORDINATE: &str = r#"{"type":"string","examples":["1.1.1/1.1.1/1.1.1","notes/todo"]}"#;
const CONSISTENCY: &str = r#"{"type": "string", "enum":["linearizable","stale"]}"#;

/// A parameter of the query.
pub const fn query(name: &'static str, schema: &'static str, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, schema, about }
}

/// An argument in the path.
pub const fn argument(name: &'static str, schema: &'static str, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, schema, about }
}

const fn header(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Header, schema: STRING, about }
}

/// The phext.
pub const P: Parameter = query("p", STRING, "The phext; without it the tenant's default one.");
/// The coordinate.
pub const C: Parameter = query("c", COORDINATE, "The coordinate; without it the origin.");
/// The coordinate, as an argument.
pub const AT: Parameter = argument("c", COORDINATE, "The coordinate.");
/// The text.
pub const S: Parameter = query("s", STRING, "The text, where there is no body.");
/// How fresh a read must be.
pub const FRESH: Parameter =
    query("consistency", CONSISTENCY, "`stale` may be answered by any replica.");
/// Makes a retry apply once.
pub const ONCE: Parameter = header("Idempotency-Key", "Makes a retry of this write apply once.");
/// The revision a scroll must have.
pub const IF_MATCH: Parameter = header("If-Match", "The revision the scroll must have.");
/// The revision a reader has, or for a write that there must be none.
pub const IF_NONE_MATCH: Parameter = header("If-None-Match", "For a write `*`: it must be absent.");

/// A scroll, in any content type.
pub const SCROLL: Body = Body { content_type: "text/plain", schema: STRING, required: false };

/// A JSON body of this form.
pub const fn json_body(schema: &'static str) -> Body {
    Body { content_type: "application/json", schema, required: true }
}

/// A text, as an answer.
pub const fn text(about: &'static str) -> Reply {
    Reply { status: 200, content: &[("text/plain", STRING)], about }
}

/// An answer with this content.
pub const fn reply(
    status: u16,
    content: &'static [(&'static str, &'static str)],
    about: &'static str,
) -> Reply {
    Reply { status, content, about }
}

/// An operation without a body.
pub const fn operation(
    method: HttpMethod,
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answers: &'static [Reply],
) -> Operation {
    Operation { method, path, summary, parameters, body: None, answers }
}

impl Operation {
    /// The same with a body.
    pub const fn with_body(self, body: Body) -> Self {
        let Self { method, path, summary, parameters, answers, .. } = self;
        Self { method, path, summary, parameters, body: Some(body), answers }
    }
}
