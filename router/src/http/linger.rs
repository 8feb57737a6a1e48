//! The end of a connection whose client may still be sending. A socket that is closed with unread
//! bytes in it is reset, and the reset can destroy the answer on its way; so the answer is sent,
//! then what still comes is read and thrown away, a bounded amount for a bounded time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Most bytes thrown away: the largest body there is, twice.
const BYTES_MAX: usize = 128 << 20;
/// Longest it takes, and longest wait for another byte.
const TIME_MAX: Duration = Duration::from_secs(30);
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Bytes read at once.
const BUFFER: usize = 64 << 10;

/// A connection being read to its end.
pub struct Linger {
    end: Instant,
    timer: Pin<Box<Sleep>>,
    left: usize,
    buffer: Vec<u8>,
}

impl Linger {
    /// Begins with what is unread.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            end: now + TIME_MAX,
            timer: Box::pin(tokio::time::sleep_until(now + QUIET_MAX)),
            left: BYTES_MAX,
            buffer: vec![0; BUFFER],
        }
    }

    /// Ready when the client has ended, failed, sent too much or taken too long.
    pub fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            if ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)).is_err() {
                return Poll::Ready(());
            }
            let read = buffer.filled().len();
            self.left = self.left.saturating_sub(read);
            if read == 0 || self.left == 0 {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.end.min(Instant::now() + QUIET_MAX));
        }
    }
}
