//! Bytes that are put together before they are sent: in memory up to a limit, beyond it in a
//! temporary file that has no name and is gone with its last user.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use bytes::Bytes;

use crate::forward::ForwardError;

/// Bytes read from the file at once.
const PIECE: usize = 256 << 10;

/// Bytes being put together.
pub(super) struct Spool {
    in_memory: usize,
    bytes: u64,
    memory: Vec<u8>,
    file: Option<File>,
}

/// Bytes being sent.
pub(super) struct Pour {
    bytes: u64,
    left: u64,
    memory: Option<Bytes>,
    file: Option<File>,
}

impl Spool {
    /// An empty one that keeps so many bytes in memory.
    pub(super) fn new(in_memory: usize) -> Self {
        Self { in_memory, bytes: 0, memory: Vec::new(), file: None }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes.
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), ForwardError> {
        self.bytes += bytes.len() as u64;
        self.memory.extend_from_slice(&bytes);
        if self.memory.len() > self.in_memory { self.spill().await } else { Ok(()) }
    }

    /// Moves what is in memory to the file.
    async fn spill(&mut self) -> Result<(), ForwardError> {
        let bytes = std::mem::take(&mut self.memory);
        let file = self.file.take();
        let file = blocking(move || {
            let mut file = file.map_or_else(tempfile::tempfile, Ok)?;
            file.write_all(&bytes)?;
            Ok(file)
        });
        self.file = Some(file.await?);
        Ok(())
    }

    /// Sends what was put together.
    pub(super) async fn pour(mut self) -> Result<Pour, ForwardError> {
        if self.file.is_none() {
            let memory = Some(Bytes::from(self.memory));
            return Ok(Pour { bytes: self.bytes, left: 0, memory, file: None });
        }
        self.spill().await?;
        let Some(mut file) = self.file.take() else { return Err(ForwardError::Garbled) };
        let file = blocking(move || file.rewind().map(|()| file)).await?;
        Ok(Pour { bytes: self.bytes, left: self.bytes, memory: None, file: Some(file) })
    }
}

impl Pour {
    /// Bytes in all.
    pub(super) fn len(&self) -> u64 {
        self.bytes
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        if let Some(memory) = self.memory.take().filter(|memory| !memory.is_empty()) {
            return Ok(Some(memory));
        }
        let Some(mut file) = self.file.take().filter(|_| self.left > 0) else { return Ok(None) };
        let wanted = self.left.min(PIECE as u64) as usize;
        let read = blocking(move || {
            let mut piece = vec![0; wanted];
            file.read_exact(&mut piece)?;
            Ok((file, piece))
        });
        let (file, piece) = read.await?;
        self.left -= piece.len() as u64;
        self.file = Some(file);
        Ok(Some(piece.into()))
    }
}

/// Does what may wait for a disk where waiting harms nobody. A temporary file that cannot be
/// written ends the answer in the middle, so that nobody takes a part for the whole.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ForwardError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|error| {
        tracing::error!(%error, "no room for a temporary file; see TMPDIR");
        ForwardError::DiskFull { node: 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out_whether_it_fits_in_memory_or_not() {
        for in_memory in [0, 10, 1 << 20] {
            let mut spool = Spool::new(in_memory);
            let mut expected = Vec::new();
            for length in [0, 7, 300_000, 1, 400_000] {
                let piece: Vec<u8> = (0..length).map(|n: usize| (n % 251) as u8).collect();
                expected.extend_from_slice(&piece);
                spool.write(piece).await.unwrap();
            }
            assert_eq!(spool.len(), expected.len() as u64);
            assert_eq!(spool.file.is_some(), in_memory < 300_000);
            let mut pour = spool.pour().await.unwrap();
            let mut got = Vec::new();
            while let Some(piece) = pour.next().await.unwrap() {
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, expected);
            assert_eq!(pour.len(), expected.len() as u64);
        }
        let mut empty = Spool::new(10).pour().await.unwrap();
        assert!(empty.next().await.unwrap().is_none());
    }
}
