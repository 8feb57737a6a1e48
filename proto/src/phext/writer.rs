//! Scrolls, put together into phext text one by one.

use super::DELIMITERS;

/// Writes phext text. Holds only the place it has come to, so that an export can be streamed.
///
/// A far coordinate takes very many delimiters, billions at worst: where output is limited, ask
/// [`PhextWriter::delimiters_to`] before writing.
#[derive(Clone, Debug)]
pub struct PhextWriter {
    at: [u32; 9],
    /// Whether there is a scroll at `at`, so that the next one must come after it.
    taken: bool,
}

/// A scroll that cannot be written where the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhextWriteError {
    /// The coordinate does not come after the one before it.
    #[error("scrolls are out of order: {next:?} comes after {last:?}")]
    OutOfOrder {
        /// The coordinate last written.
        last: [u32; 9],
        /// The one asked for.
        next: [u32; 9],
    },
}

impl Default for PhextWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl PhextWriter {
    /// A writer at the beginning of a phext.
    #[must_use]
    pub fn new() -> Self {
        Self { at: [1; 9], taken: false }
    }

    /// How many delimiters it takes to get from here to `coordinate`.
    #[must_use]
    pub fn delimiters_to(&self, coordinate: [u32; 9]) -> u64 {
        delimiters_between(self.at, coordinate)
    }

    /// Appends the delimiters up to `coordinate` and then `text`, which must hold none. An empty
    /// text is no scroll and writes nothing.
    ///
    /// # Errors
    /// When `coordinate` does not come after the last one; nothing is written then.
    pub fn write(
        &mut self,
        coordinate: [u32; 9],
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), PhextWriteError> {
        if coordinate < self.at || (self.taken && coordinate == self.at) {
            return Err(PhextWriteError::OutOfOrder { last: self.at, next: coordinate });
        }
        if text.is_empty() {
            return Ok(());
        }
        for (steps, delimiter) in steps(self.at, coordinate).into_iter().zip(DELIMITERS) {
            out.resize(out.len() + steps as usize, delimiter);
        }
        out.extend_from_slice(text);
        self.at = coordinate;
        self.taken = true;
        Ok(())
    }
}

/// How many delimiters lie between two coordinates; 0 when `to` does not come after `from`.
#[must_use]
pub fn delimiters_between(from: [u32; 9], to: [u32; 9]) -> u64 {
    steps(from, to).into_iter().map(u64::from).sum()
}

/// Delimiters of each dimension on the way: in the first that differs the difference, in the
/// lower ones, which were set back to 1, what is missing.
fn steps(from: [u32; 9], to: [u32; 9]) -> [u32; 9] {
    let mut steps = [0; 9];
    if let Some(first) = (0..9).find(|&index| from[index] != to[index])
        && from[first] < to[first]
    {
        steps[first] = to[first] - from[first];
        for index in first + 1..9 {
            steps[index] = to[index].saturating_sub(1);
        }
    }
    steps
}
