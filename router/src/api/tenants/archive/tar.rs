//! The form of a tar around its files: a head of 512 bytes, contents, zeros up to the next
//! multiple of 512. Names that do not fit the head go into an extension of POSIX.1-2001 (pax), so
//! that any name arrives as it is.

use std::io;

use tar::{Builder, EntryType, Header};

const BLOCK: u64 = 512;
/// Longest name in a head.
const NAME_MAX: usize = 100;
static ZEROS: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
/// What ends a tar.
pub(super) const END: &[u8] = &ZEROS;

/// What comes before the contents of a file of so many bytes.
pub(super) fn head(path: &str, bytes: u64, modified_s: u64) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    let plain = path.is_ascii() && path.len() <= NAME_MAX;
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_mtime(modified_s);
    header.set_size(bytes);
    if plain {
        header.set_path(path)?;
    } else {
        builder.append_pax_extensions([("path", path.as_bytes())])?;
        // What a reader sees that does not know extensions.
        header.set_path("name-in-pax-header")?;
    }
    header.set_cksum();
    let mut head = std::mem::take(builder.get_mut());
    head.extend_from_slice(header.as_bytes());
    Ok(head)
}

/// What comes after the contents of a file of so many bytes.
pub(super) fn padding(bytes: u64) -> &'static [u8] {
    &ZEROS[..(bytes.next_multiple_of(BLOCK) - bytes) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn any_name_arrives_as_it_is() {
        let long = format!("will/{}.phext", "ü-".repeat(66));
        let names = ["will/index.phext", "will/..phext", "will/-x \"*?.phext", &long];
        let mut archive = Vec::new();
        for name in names {
            archive.extend(head(name, name.len() as u64, 7).unwrap());
            archive.extend_from_slice(name.as_bytes());
            archive.extend_from_slice(padding(name.len() as u64));
        }
        archive.extend_from_slice(END);
        assert_eq!(archive.len() % 512, 0);
        let mut read = tar::Archive::new(&archive[..]);
        let entries = read.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert_eq!(text, path);
            path
        });
        assert_eq!(entries.collect::<Vec<_>>(), names);
        assert_eq!((padding(0).len(), padding(1).len(), padding(512).len()), (0, 511, 0));
    }
}
