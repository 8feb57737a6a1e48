//! Deadlines of one client's connection, kept where the bytes pass: a client that is slow to send
//! a head, slow to take an answer, or only sits there is let go.
//!
//! hyper's own `header_read_timeout` is not used: it cannot tell a slow head from an unused
//! connection, closes both without a word, and costs a timer a request. Here a timer is touched
//! only when it fires or when a head arrives in pieces.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use ranch_proto::tls::Stream;
use tokio::time::{Instant, Sleep};

use crate::http::linger::Linger;

/// What a connection's requests tell its guard.
#[derive(Debug, Default)]
pub struct Activity {
    running: AtomicUsize,
    begun: AtomicU64,
    multiplexed: AtomicBool,
    unread: AtomicBool,
}

/// Counts as a running request until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Activity>);

impl Activity {
    /// Takes note of a request whose head has been read.
    pub fn begin(self: &Arc<Self>, multiplexed: bool) -> InFlight {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        if multiplexed {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        self.unread.store(false, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Takes note that a request was answered, maybe before all of its body was read.
    pub fn leave_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How patient a guard is.
#[derive(Clone, Debug)]
pub struct Patience {
    /// From the first byte of a head, or the connection's start, to the head's end.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
    /// Without the client taking a byte of what is sent.
    pub write: Duration,
    /// Said to a client whose head came too slowly: a whole HTTP/1.1 answer.
    pub too_slow: Bytes,
}

/// A connection with deadlines.
pub struct Guarded {
    io: TokioIo<Stream>,
    activity: Arc<Activity>,
    patience: Patience,
    /// Requests begun when this quiet time started.
    seen: u64,
    quiet_since: Instant,
    /// Bytes of the next head have arrived in this quiet time.
    head_begun: bool,
    quiet_timer: Pin<Box<Sleep>>,
    stalled: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

impl Guarded {
    /// Guards a connection that was accepted at a moment `since`.
    pub fn new(
        stream: Stream,
        since: Instant,
        activity: Arc<Activity>,
        patience: Patience,
    ) -> Self {
        Self {
            io: TokioIo::new(stream),
            activity,
            quiet_timer: Box::pin(tokio::time::sleep_until(since + patience.head)),
            patience,
            seen: 0,
            quiet_since: since,
            head_begun: false,
            stalled: None,
            linger: None,
        }
    }

    /// Takes note of bytes that arrived.
    fn received(&mut self) {
        if self.activity.running.load(Ordering::Relaxed) == 0 && !self.head_begun {
            self.head_begun = true;
            if self.seen > 0 {
                self.quiet_since = Instant::now();
            }
        }
    }

    /// Whether the client may have sent what nobody has read: the rest of a body, or of a head that
    /// never became a request.
    fn has_unread(&self) -> bool {
        let is_head = self.head_begun && self.activity.begun.load(Ordering::Relaxed) == self.seen;
        is_head || self.activity.unread.load(Ordering::Relaxed)
    }

    /// Whether the client has been quiet for too long; otherwise sees to being woken in time.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if self.activity.running.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let begun = self.activity.begun.load(Ordering::Relaxed);
        if begun != self.seen {
            self.seen = begun;
            self.head_begun = false;
            self.quiet_since = Instant::now();
        }
        // On a multiplexed connection bytes may be pings and window updates, not heads.
        let multiplexed = self.activity.multiplexed.load(Ordering::Relaxed);
        let in_head = begun == 0 || (self.head_begun && !multiplexed);
        let allowed = if in_head { self.patience.head } else { self.patience.idle };
        let deadline = self.quiet_since + allowed;
        if self.quiet_timer.deadline() > deadline {
            self.quiet_timer.as_mut().reset(deadline);
        }
        while self.quiet_timer.as_mut().poll(cx).is_ready() {
            if self.quiet_timer.deadline() >= deadline {
                return true;
            }
            self.quiet_timer.as_mut().reset(deadline);
        }
        false
    }

    /// The end of a connection whose client was quiet for too long: in the middle of a head it is
    /// told so, otherwise the connection just ends.
    fn let_go(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.head_begun || self.activity.multiplexed.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        // Best effort: the answer fits any socket buffer, and a client that is gone needs none.
        let answer = self.patience.too_slow.clone();
        let _ = Pin::new(&mut self.io).poll_write(cx, &answer);
        let _ = Pin::new(&mut self.io).poll_flush(cx);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Puts the write deadline around an outcome of writing.
    fn watched<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let allowed = self.patience.write;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(allowed)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl Read for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending if self.is_overdue(cx) => self.let_go(cx),
            Poll::Pending => Poll::Pending,
            ready @ Poll::Ready(_) => {
                self.received();
                ready
            }
        }
    }
}

impl Write for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watched(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.watched(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.watched(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
            ready!(self.watched(outcome, cx))?;
        }
        if !self.has_unread() {
            return Poll::Ready(Ok(()));
        }
        let Self { io, linger, .. } = &mut *self;
        // With TLS the end of the stream has been said; what still comes is nobody's any more.
        linger.get_or_insert_with(Linger::new).poll(io.inner_mut().tcp(), cx).map(Ok)
    }
}
