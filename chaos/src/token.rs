//! The lines scrolls of a workload are made of. Each write has a token no other write has, and its
//! line is made from the token alone: so a line read back is wholly right or not one of ours, and
//! the size of a scroll is known from its tokens.
//!
//! A token is `CLIENT-NUMBER`, or `CLIENT-NUMBER+BYTES` for a line that is filled up to that many
//! bytes.

/// Longest part of a line of nobody's that is kept, in characters.
const STRAY_MAX: usize = 80;
/// What a line is filled with. No divisor of its length is near a block's size, so blocks that
/// change places show.
const FILLER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-";

/// A token of a line with `bytes` bytes, or of the shortest one where that is less.
#[must_use]
pub fn token(client: u32, number: u64, bytes: Option<u64>) -> String {
    match bytes {
        None => format!("{client}-{number}"),
        Some(bytes) => format!("{client}-{number}+{bytes}"),
    }
}

/// The line of a token, with its end.
#[must_use]
pub fn line(token: &str) -> String {
    let mut line = token.to_owned();
    let bytes = bytes(token) as usize;
    if line.len() + 1 < bytes {
        line.push(' ');
        // Begins elsewhere for each token, so that no two lines share a long part.
        let start = token
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let filler = FILLER.iter().cycle().skip(start % FILLER.len());
        let missing = bytes - line.len() - 1;
        line.extend(filler.take(missing).map(|byte| char::from(*byte)));
    }
    line.push('\n');
    line
}

/// The length of a token's line in bytes.
#[must_use]
pub fn bytes(token: &str) -> u64 {
    let shortest = token.len() as u64 + 1;
    let asked = token.split_once('+').and_then(|(_, bytes)| bytes.parse::<u64>().ok());
    // One more than the shortest has no room for a filler and the blank before it.
    asked.filter(|asked| *asked > shortest + 1).unwrap_or(shortest)
}

/// The tokens of a text. A line that is not exactly that of a token stands for itself, cut to a
/// readable length, and belongs to no write.
#[must_use]
pub fn tokens(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(token_of).collect()
}

fn token_of(found: &str) -> String {
    let token = found.trim_end_matches('\n').split(' ').next().unwrap_or_default();
    let plain = found.len() == token.len() + 1 && found.ends_with('\n') && !token.contains('+');
    if plain || (bytes(token) == found.len() as u64 && line(token) == found) {
        return token.to_owned();
    }
    let mut stray: String = found.chars().take(STRAY_MAX).collect();
    stray.push('…');
    stray
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_long_as_its_token_says_and_gives_it_back() {
        for size in [None, Some(0), Some(7), Some(8), Some(9), Some(10), Some(500), Some(70_000)] {
            let token = token(3, 17, size);
            let line = line(&token);
            assert_eq!(line.len() as u64, bytes(&token), "{token}");
            assert_eq!(tokens(&line), [token.as_str()]);
        }
        assert_eq!(line("3-17"), "3-17\n");
        assert_eq!(bytes("3-17+500"), 500);
    }

    #[test]
    fn a_line_with_one_wrong_byte_is_nobodys() {
        let good = line("3-17+300");
        for at in [0, 3, 9, 150, 298, 299] {
            let mut bad = good.clone().into_bytes();
            bad[at] = b'#';
            let bad = String::from_utf8(bad).unwrap();
            let found = tokens(&bad);
            assert!(found.iter().all(|token| token != "3-17+300"), "{at}: {found:?}");
        }
        assert_eq!(tokens(&good[..200])[0].chars().count(), STRAY_MAX + 1);
        assert_eq!(tokens("1-1\n1-2"), ["1-1", "1-2…"], "a line without its end");
        assert_eq!(tokens(""), [""; 0]);
    }

    #[test]
    fn fillers_differ() {
        let [a, b] = ["1-1+400", "1-2+400"].map(line);
        assert_ne!(a[8..], b[8..]);
    }
}
