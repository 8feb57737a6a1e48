//! Everything a tenant has, as a tar: what its record says, a file a phext, and one of JSON lines
//! for the scrolls that have no place in phext text.
//!
//! ```text
//! will/tenant.json            id, quota, limits, profile
//! will/NAME.phext             the numeric scrolls of a phext
//! will/named-scrolls.jsonl    {"p":…,"c":…,"text":…} a line
//! ```
//!
//! A tar gives the size of a file before its text, and a tenant may be written to meanwhile. So a
//! file is put together first, in memory while it is small and else in a temporary file, and sent
//! then. Nothing larger than [`IN_MEMORY`] is ever held.

mod spool;
mod tar;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, HeaderValue};
use ranch_proto::phext::delimiters_between;
use ranch_proto::schema::{
    ListPhexts, ReadRequest, ScanScrolls, Scroll, TenantRecord, read_reply, read_request,
};
use ranch_proto::{Coordinate, Shards};
use serde::Serialize;

use super::{known, show};
use crate::api::Call;
use crate::api::pages::{self, Pages};
use crate::api::whole::text::Writer;
use crate::app::App;
use crate::error::ApiError;
use crate::forward::{ForwardError, Home};
use crate::http::answer::{self, Answer};
use spool::{Pour, Spool};

/// Bytes of a file put together in memory; a larger one goes through a temporary file.
const IN_MEMORY: usize = 4 << 20;
/// What the answer is.
const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
/// The file of scrolls without a place in phext text.
const NAMED: &str = "named-scrolls.jsonl";

/// A line of [`NAMED`], such that it can be given to `batch` as the write it describes.
#[derive(Serialize)]
struct Line<'a> {
    p: &'a str,
    c: String,
    text: &'a str,
}

/// Streams everything a tenant has, also of a disabled one.
pub async fn archive<S: Shards>(call: &Call<'_, S>, id: &str) -> Result<Answer, ApiError> {
    let tenant = known(call, id)?;
    let what = Some(read_request::What::Phexts(ListPhexts {}));
    let request = ReadRequest { tenant: tenant.id.clone(), stale: false, what };
    let reply = call.app.forward.read(Home::from(&tenant), request).await?;
    let Some(read_reply::What::Phexts(list)) = reply.what else {
        return Err(ApiError::Garbled);
    };
    super::audit(call, "archive tenant", id);
    let about = {
        let keys = call.app.shards.directory().read().keys_of(id).count();
        serde_json::to_vec_pretty(&show::listed(&tenant, keys)).unwrap_or_default()
    };
    let phexts: Vec<String> = list.phexts.into_iter().map(|phext| phext.name).collect();
    let archive = Archive {
        app: Arc::clone(call.app),
        tenant,
        phexts: phexts.into_iter(),
        named: Spool::new(IN_MEMORY),
        step: Step::About(about.into()),
    };
    let pieces = stream::try_unfold(archive, |mut archive| async move {
        Ok(archive.next().await?.map(|piece| (piece, archive)))
    });
    let mut answer = answer::pieces(TAR, Box::pin(pieces));
    // An id has no character that would need quoting.
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{id}.tar\"")) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    Ok(answer)
}

/// An archive on its way out.
struct Archive<S> {
    app: Arc<App<S>>,
    tenant: TenantRecord,
    /// Those still to come.
    phexts: std::vec::IntoIter<String>,
    /// Lines of [`NAMED`] so far.
    named: Spool,
    step: Step,
}

/// What comes next.
enum Step {
    About(Bytes),
    /// The next phext, or the named scrolls after the last.
    File,
    /// The rest of a file whose head has been sent.
    Contents(Pour, Then),
    End,
    Done,
}

#[derive(Clone, Copy)]
enum Then {
    File,
    End,
}

impl<S: Shards> Archive<S> {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        loop {
            match std::mem::replace(&mut self.step, Step::Done) {
                Step::About(about) => {
                    let mut piece = self.head("tenant.json", about.len() as u64)?;
                    piece.extend_from_slice(&about);
                    piece.extend_from_slice(tar::padding(about.len() as u64));
                    self.step = Step::File;
                    return Ok(Some(piece.into()));
                }
                Step::File => {
                    let Some((name, spool, then)) = self.file().await? else {
                        self.step = Step::File;
                        continue;
                    };
                    let head = self.head(&name, spool.len())?;
                    self.step = Step::Contents(spool.pour().await?, then);
                    return Ok(Some(head.into()));
                }
                Step::Contents(mut pour, then) => {
                    if let Some(piece) = pour.next().await? {
                        self.step = Step::Contents(pour, then);
                        return Ok(Some(piece));
                    }
                    self.step = match then {
                        Then::File => Step::File,
                        Then::End => Step::End,
                    };
                    let padding = tar::padding(pour.len());
                    if !padding.is_empty() {
                        return Ok(Some(Bytes::from_static(padding)));
                    }
                }
                Step::End => return Ok(Some(Bytes::from_static(tar::END))),
                Step::Done => return Ok(None),
            }
        }
    }

    /// The next file to send; `None` for a phext without a file of its own.
    async fn file(&mut self) -> Result<Option<(String, Spool, Then)>, ForwardError> {
        let Some(phext) = self.phexts.next() else {
            let named = std::mem::replace(&mut self.named, Spool::new(0));
            return Ok(Some((NAMED.to_owned(), named, Then::End)));
        };
        let text = self.gather(&phext).await?;
        Ok(text.map(|spool| (format!("{phext}.phext"), spool, Then::File)))
    }

    /// Puts the text of a phext together, and adds its named scrolls to the others. `None` when
    /// it has no text: its scrolls are all named, or so far out that the delimiters before them
    /// would be more than an export may have; then all are written down by name.
    async fn gather(&mut self, phext: &str) -> Result<Option<Spool>, ForwardError> {
        let as_text = self.text_size(phext).await? <= self.app.options.export_max_bytes;
        let mut spool = Spool::new(IN_MEMORY);
        let mut writer = Writer::new();
        let mut out = Vec::new();
        let mut pages = self.pages(phext, true);
        loop {
            let page = pages.next().await?;
            for scroll in page.scrolls {
                match pages::coordinate(&scroll)? {
                    Coordinate::Numeric(coordinate) if as_text => {
                        writer.put(coordinate, scroll.text.unwrap_or_default())?;
                        while writer.advance(&mut out) {
                            spool.write(std::mem::take(&mut out)).await?;
                        }
                    }
                    coordinate => self.note(phext, &coordinate, &scroll).await?,
                }
            }
            if page.last {
                break;
            }
        }
        spool.write(out).await?;
        Ok((spool.len() > 0).then_some(spool))
    }

    /// Bytes of a phext's text.
    async fn text_size(&self, phext: &str) -> Result<u64, ForwardError> {
        let (mut bytes, mut at) = (0, [1; 9]);
        let mut pages = self.pages(phext, false);
        loop {
            let page = pages.next().await?;
            for scroll in &page.scrolls {
                if let Coordinate::Numeric(coordinate) = pages::coordinate(scroll)? {
                    bytes += delimiters_between(at, coordinate) + scroll.length;
                    at = coordinate;
                }
            }
            if page.last {
                return Ok(bytes);
            }
        }
    }

    fn pages(&self, phext: &str, texts: bool) -> Pages<S> {
        let scan = ScanScrolls { phext: phext.to_owned(), texts, ..ScanScrolls::default() };
        Pages::of_tenant(&self.app, &self.tenant, scan)
    }

    async fn note(
        &mut self,
        phext: &str,
        coordinate: &Coordinate,
        scroll: &Scroll,
    ) -> Result<(), ForwardError> {
        let text = scroll.text.as_deref().unwrap_or_default();
        let text = std::str::from_utf8(text).map_err(|_| ForwardError::Garbled)?;
        let line = Line { p: phext, c: coordinate.to_string(), text };
        let mut line = serde_json::to_vec(&line).map_err(|_| ForwardError::Garbled)?;
        line.push(b'\n');
        self.named.write(line).await
    }

    fn head(&self, name: &str, bytes: u64) -> Result<Vec<u8>, ForwardError> {
        let path = format!("{}/{name}", self.tenant.id);
        tar::head(&path, bytes, self.tenant.created_ms / 1000).map_err(|error| {
            tracing::error!(%error, "cannot describe a file of an archive");
            ForwardError::Garbled
        })
    }
}
