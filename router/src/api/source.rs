//! Where a request reads, and single scrolls read there. Texts that shards keep in parts are put
//! together again: as of one moment, because every part is asked for at one revision, and within
//! the memory there is for large texts.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use ranch_proto::Shards;
use ranch_proto::schema::{
    GetPart, GetScroll, ReadRequest, Scroll, TenantRecord, read_reply, read_request,
};

use crate::api::{Call, scrolls};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::forward::{ForwardError, Home};
use crate::large::Share;

/// Parts asked for at once.
const IN_FLIGHT: usize = 4;
/// How often a text is begun anew because it changed meanwhile.
const ATTEMPTS: u32 = 8;

/// Where a request reads: a tenant's shard, and how fresh. Outlives the request's head, so that
/// answers can be made while they are sent.
pub struct Source<S> {
    app: Arc<App<S>>,
    tenant: String,
    shard: Home,
    stale: bool,
}

/// A scroll with all of its text.
#[derive(Debug)]
pub struct Whole {
    /// The scroll.
    pub scroll: Scroll,
    /// The share of memory a large text takes.
    pub share: Option<Share>,
}

impl<S> Clone for Source<S> {
    fn clone(&self) -> Self {
        let Self { app, tenant, shard, stale } = self;
        Self { app: Arc::clone(app), tenant: tenant.clone(), shard: *shard, stale: *stale }
    }
}

impl<S: Shards> Source<S> {
    /// Where `call` reads.
    pub fn new(call: &Call<'_, S>, caller: &Caller) -> Result<Self, ApiError> {
        Ok(Self {
            app: Arc::clone(call.app),
            tenant: caller.tenant.clone(),
            shard: caller.shard,
            stale: scrolls::is_stale(call.query)?,
        })
    }

    /// Where an administrator reads what a tenant has.
    pub fn of_tenant(app: &Arc<App<S>>, tenant: &TenantRecord) -> Self {
        let (id, shard) = (tenant.id.clone(), Home::from(tenant));
        Self { app: Arc::clone(app), tenant: id, shard, stale: false }
    }

    /// Asks the shard. The second part is the log index a stale answer reflects.
    pub async fn ask(
        &self,
        what: read_request::What,
    ) -> Result<(Option<read_reply::What>, Option<u64>), ForwardError> {
        let (tenant, stale) = (self.tenant.clone(), self.stale);
        let request = ReadRequest { tenant, stale, what: Some(what) };
        let reply = self.app.forward.read(self.shard, request).await?;
        Ok((reply.what, stale.then_some(reply.applied)))
    }

    /// The scroll at an encoded coordinate, if there is one, and the log index a stale read
    /// reflects. A large one comes with the first part of its text, until made [`Source::whole`].
    pub async fn scroll(
        &self,
        get: GetScroll,
    ) -> Result<(Option<Scroll>, Option<u64>), ForwardError> {
        match self.ask(read_request::What::Get(get)).await? {
            (Some(read_reply::What::Get(get)), applied) => Ok((get.scroll, applied)),
            _ => Err(ForwardError::Garbled),
        }
    }

    /// A scroll with all of its text, from what was heard of it; as it is by now if it has changed
    /// since, and `None` if it is gone.
    pub async fn whole(&self, phext: &str, scroll: Scroll) -> Result<Option<Whole>, ForwardError> {
        let mut known = scroll;
        for _ in 0..ATTEMPTS {
            if known.parts == 0 {
                return Ok(Some(Whole { scroll: known, share: None }));
            }
            let share = self.app.budget.take(known.length).await?;
            if let Some(text) = self.text(phext, &known).await? {
                let scroll = Scroll { text: Some(text), parts: 0, ..known };
                return Ok(Some(Whole { scroll, share: Some(share) }));
            }
            drop(share);
            let get = GetScroll { phext: phext.to_owned(), coordinate: known.coordinate };
            match self.scroll(get).await?.0 {
                Some(scroll) => known = scroll,
                None => return Ok(None),
            }
        }
        tracing::debug!("a large scroll changed faster than it could be read");
        Err(ForwardError::Unavailable)
    }

    /// The text of a scroll in parts at the revision known; `None` when it has another by now.
    pub async fn text(&self, phext: &str, scroll: &Scroll) -> Result<Option<Bytes>, ForwardError> {
        let length = usize::try_from(scroll.length).map_err(|_| ForwardError::Garbled)?;
        let mut text = Vec::with_capacity(length);
        if let Some(first) = &scroll.text {
            text.extend_from_slice(first);
        }
        let mut left = u32::from(scroll.text.is_some())..scroll.parts;
        let mut under_way = FuturesOrdered::new();
        loop {
            while under_way.len() < IN_FLIGHT
                && let Some(part) = left.next()
            {
                under_way.push_back(self.part(phext, scroll, part).boxed());
            }
            match under_way.next().await {
                Some(part) => match part? {
                    Some(bytes) => text.extend_from_slice(&bytes),
                    None => return Ok(None),
                },
                None if text.len() == length => return Ok(Some(text.into())),
                None => return Err(ForwardError::Garbled),
            }
        }
    }

    async fn part(
        &self,
        phext: &str,
        scroll: &Scroll,
        part: u32,
    ) -> Result<Option<Bytes>, ForwardError> {
        let (phext, coordinate) = (phext.to_owned(), scroll.coordinate.clone());
        let get = GetPart { phext, coordinate, revision: scroll.revision, part };
        let what = Some(read_request::What::Part(get));
        // From the leader always: another replica may not have this revision yet.
        let request = ReadRequest { tenant: self.tenant.clone(), stale: false, what };
        match self.app.forward.read(self.shard, request).await?.what {
            Some(read_reply::What::Part(reply)) => Ok(reply.text),
            _ => Err(ForwardError::Garbled),
        }
    }
}
