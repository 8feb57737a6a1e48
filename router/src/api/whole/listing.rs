//! What a client has, as it says to `delta`: a line a scroll, `COORDINATE: XXH3-128`. Compared with
//! what is stored by walking over both in order.

use std::ops::Range;
use std::sync::Arc;

use hyper::body::Incoming;
use ranch_proto::{Coordinate, Shards};

use crate::api::Call;
use crate::error::ApiError;
use crate::http::body;

/// The list a request brings: its body, or `s` where there is none, as SQ takes it.
///
/// # Errors
/// A body over `limit` bytes, or that is no UTF-8.
pub async fn text<S: Shards>(
    call: &Call<'_, S>,
    body: Incoming,
    limit: u64,
) -> Result<String, ApiError> {
    let body = body::read(body, limit, call.app.options.body_timeout).await?;
    if body.is_empty() {
        return Ok(call.query.get("s").unwrap_or_default().to_owned());
    }
    let text = std::str::from_utf8(&body);
    let text = text.map_err(|_| ApiError::BadEncoding { what: "the body" })?;
    Ok(text.to_owned())
}

/// A scroll a client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    coordinate: [u32; 9],
    /// `None` for what cannot be a checksum, and so differs from every scroll's.
    checksum: Option<u128>,
}

/// All a client has, in order, each coordinate once.
#[derive(Clone, Debug)]
pub struct Listing {
    scrolls: Arc<[Listed]>,
}

impl Listing {
    /// Reads the lines of a list. Empty ones are skipped; of two for one coordinate the later
    /// counts. Named coordinates have no place in phext text, so they are left out.
    ///
    /// # Errors
    /// [`ApiError::BadLine`] for one without a checksum or with a malformed coordinate.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut scrolls = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad = |detail| ApiError::BadLine { line: index + 1, detail };
            let (coordinate, checksum) = line.split_once(':').unwrap_or((line, ""));
            let coordinate = Coordinate::parse(coordinate.trim());
            let coordinate = coordinate.map_err(|error| bad(error.to_string()))?;
            let checksum = checksum.trim();
            if checksum.is_empty() {
                return Err(bad(format!("{coordinate} needs a checksum: {coordinate}: XXH3-128")));
            }
            if let Coordinate::Numeric(coordinate) = coordinate {
                scrolls.push(Listed { coordinate, checksum: checksum_of(checksum) });
            }
        }
        // Stable, so that of equal coordinates the last stays the last.
        scrolls.sort_by_key(|listed| listed.coordinate);
        let mut unique: Vec<Listed> = Vec::with_capacity(scrolls.len());
        for listed in scrolls {
            match unique.last_mut() {
                Some(last) if last.coordinate == listed.coordinate => *last = listed,
                _ => unique.push(listed),
            }
        }
        Ok(Self { scrolls: unique.into() })
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.scrolls.is_empty()
    }

    /// The coordinate of an entry.
    pub fn coordinate(&self, index: usize) -> [u32; 9] {
        self.scrolls[index].coordinate
    }
}

fn checksum_of(text: &str) -> Option<u128> {
    // from_str_radix would also take a sign.
    let hex = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// A walk over a list beside a walk over what is stored.
#[derive(Clone, Debug)]
pub struct Comparison {
    listing: Listing,
    /// The first entry not yet passed.
    at: usize,
}

impl Comparison {
    /// Begins with the first entry.
    pub fn new(listing: Listing) -> Self {
        Self { listing, at: 0 }
    }

    /// Goes on to the next stored scroll: which entries before it are of scrolls that are not
    /// stored, and whether this one differs from its entry, or has none.
    pub fn pass(&mut self, coordinate: [u32; 9], checksum: u128) -> (Range<usize>, bool) {
        let scrolls = &self.listing.scrolls;
        let start = self.at;
        while scrolls.get(self.at).is_some_and(|listed| listed.coordinate < coordinate) {
            self.at += 1;
        }
        let missing = start..self.at;
        match scrolls.get(self.at) {
            Some(listed) if listed.coordinate == coordinate => {
                self.at += 1;
                (missing, listed.checksum != Some(checksum))
            }
            _ => (missing, true),
        }
    }

    /// The entries after the last stored scroll.
    pub fn rest(&mut self) -> Range<usize> {
        let start = std::mem::replace(&mut self.at, self.listing.scrolls.len());
        start..self.at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(scroll: u32) -> [u32; 9] {
        [1, 1, 1, 1, 1, 1, 1, 1, scroll]
    }

    #[test]
    fn a_list_is_put_in_order_and_its_last_word_counts() {
        let text = "1.1.1/1.1.1/1.1.3: 0a\r\n\n 1.1.1;1.1.1;1.1.1 :0B \nnotes/todo: 1\n\
                    1.1.1/1.1.1/1.1.3: wrong";
        let listing = Listing::parse(text).unwrap();
        let expected = [
            Listed { coordinate: at(1), checksum: Some(11) },
            Listed { coordinate: at(3), checksum: None },
        ];
        assert_eq!(listing.scrolls[..], expected);
    }

    #[test]
    fn lines_of_another_form_are_named() {
        for (text, line) in [
            ("abc: 1", 1),
            ("1.1.1/1.1.1/1.1.1: 1\n\n1.1.1/1.1.1/0.1.1: 2", 3),
            ("1.1.1/1.1.1/1.1.1", 1),
            ("1.1.1/1.1.1/1.1.1:", 1),
            (": 1", 1),
        ] {
            let error = Listing::parse(text).unwrap_err();
            let ApiError::BadLine { line: named, .. } = error else { panic!("{error}") };
            assert_eq!(named, line, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}|([0-9./;: ]{0,40}\n){0,5}") {
            let _ = Listing::parse(&text);
        }

        /// Every entry and every scroll is judged exactly once.
        #[test]
        fn nothing_is_passed_over(
            listed in prop::collection::btree_map(1u32..40, 0u128..3, 0..30),
            stored in prop::collection::btree_map(1u32..40, 0u128..3, 0..30),
        ) {
            let line = |(scroll, sum)| format!("1.1.1/1.1.1/1.1.{scroll}: {sum:x}");
            let lines: Vec<String> = listed.iter().map(line).collect();
            let listing = Listing::parse(&lines.join("\n")).unwrap();
            let mut comparison = Comparison::new(listing.clone());
            let (mut missing, mut sent) = (Vec::new(), Vec::new());
            let mut take = |range: Range<usize>| {
                missing.extend(range.map(|index| listing.coordinate(index)[8]));
            };
            for (scroll, sum) in &stored {
                let (before, differs) = comparison.pass(at(*scroll), *sum);
                take(before);
                sent.extend(differs.then_some(*scroll));
            }
            take(comparison.rest());
            let expected: Vec<u32> =
                listed.keys().filter(|key| !stored.contains_key(key)).copied().collect();
            prop_assert_eq!(missing, expected);
            let expected: Vec<u32> = stored
                .iter()
                .filter(|(key, sum)| listed.get(key) != Some(sum))
                .map(|(key, _)| *key)
                .collect();
            prop_assert_eq!(sent, expected);
        }
    }
}
