//! Phext files, and the scrolls in them one by one.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ranch_proto::phext::{Checksum, PhextName, PhextReader, PhextWriter};

use super::super::error::CliError;
use super::{Extent, ImportError};

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// One phext to import, and where it goes.
#[derive(Clone, Debug)]
pub struct Source {
    /// As messages name it.
    pub name: String,
    /// The phext it goes into; `None` for the tenant's default.
    pub phext: Option<String>,
    input: Input,
}

#[derive(Clone, Debug)]
enum Input {
    File(PathBuf),
    /// What came on standard input, which can be read only once.
    Memory(Arc<[u8]>),
}

/// What `path` means: standard input, a file, or every `*.phext` of a directory by name.
pub fn find(path: &Path, phext: Option<&str>) -> Result<Vec<Source>, CliError> {
    let phext = phext.map(str::to_owned);
    if path == Path::new("-") {
        let mut text = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut text);
        read.map_err(|source| CliError::Input { source })?;
        let input = Input::Memory(text.into());
        return Ok(vec![Source { name: "standard input".to_owned(), phext, input }]);
    }
    let about = fs::metadata(path).map_err(CliError::file("read", path))?;
    if !about.is_dir() {
        return Ok(vec![Source::file(path, phext)]);
    }
    if phext.is_some() {
        return Err(ImportError::OnePhext { path: path.to_owned() }.into());
    }
    let files = phexts_in(path).map_err(CliError::file("read", path))?;
    if files.is_empty() {
        return Err(ImportError::NoFiles { path: path.to_owned() }.into());
    }
    files.iter().map(|file| Ok(Source::file(file, Some(phext_named_by(file)?)))).collect()
}

/// Every `*.phext` of a directory, by name.
pub fn phexts_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "phext") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The phext a file is named after.
pub fn phext_named_by(file: &Path) -> Result<String, ImportError> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let name = stem.and_then(|stem| PhextName::parse(stem).ok());
    name.map(PhextName::into_string).ok_or_else(|| ImportError::FileName { path: file.to_owned() })
}

impl Source {
    /// A file that goes into `phext`.
    pub fn file(path: &Path, phext: Option<String>) -> Self {
        Self { name: path.display().to_string(), phext, input: Input::File(path.to_owned()) }
    }

    /// Reads it through, to learn how much it is and that it is a phext.
    pub fn measure(&self) -> Result<Extent, CliError> {
        let mut extent = Extent::default();
        let (mut writer, mut text_so_far) = (PhextWriter::new(), Vec::new());
        let mut checksum = Checksum::new();
        for scroll in self.scrolls()? {
            let (at, text) = scroll?;
            extent.scrolls += 1;
            extent.bytes += text.len() as u64;
            extent.doubtful += u64::from(text.contains(char::REPLACEMENT_CHARACTER));
            text_so_far.clear();
            // A reader gives scrolls in order, so they can be written in order.
            let _ = writer.write(at, text.as_bytes(), &mut text_so_far);
            checksum.update(&text_so_far);
        }
        extent.checksum = checksum.value();
        Ok(extent)
    }

    /// Its scrolls, in the order of their coordinates.
    pub fn scrolls(&self) -> Result<ScrollsOf<'_>, CliError> {
        let input: Box<dyn Read> = match &self.input {
            Input::File(path) => Box::new(File::open(path).map_err(CliError::file("read", path))?),
            Input::Memory(text) => Box::new(Cursor::new(Arc::clone(text))),
        };
        Ok(ScrollsOf {
            source: self,
            input,
            reader: Some(PhextReader::new()),
            buffer: vec![0; PIECE],
            unread: 0..0,
        })
    }
}

/// Scrolls as they are read. Ends at the first error.
pub struct ScrollsOf<'a> {
    source: &'a Source,
    input: Box<dyn Read>,
    /// Gone once everything was read.
    reader: Option<PhextReader>,
    buffer: Vec<u8>,
    unread: std::ops::Range<usize>,
}

type Scroll = ([u32; 9], String);

impl ScrollsOf<'_> {
    fn advance(&mut self) -> Result<Option<Scroll>, CliError> {
        let not_phext = |source| ImportError::NotPhext { name: self.source.name.clone(), source };
        while let Some(reader) = &mut self.reader {
            let mut piece = &self.buffer[self.unread.clone()];
            let scroll = reader.read(&mut piece).map_err(not_phext)?;
            self.unread.start = self.unread.end - piece.len();
            if scroll.is_some() {
                return Ok(scroll);
            }
            let read = self.input.read(&mut self.buffer);
            let path = Path::new(&self.source.name);
            self.unread = 0..read.map_err(CliError::file("read", path))?;
            if self.unread.is_empty()
                && let Some(reader) = self.reader.take()
            {
                return Ok(reader.finish().map_err(not_phext)?);
            }
        }
        Ok(None)
    }
}

impl Iterator for ScrollsOf<'_> {
    type Item = Result<Scroll, CliError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            self.reader = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, name: &str, text: &[u8]) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_file_goes_where_it_is_told_and_a_directory_by_names() {
        let dir = tempfile::tempdir().unwrap();
        let b = file(dir.path(), "b.phext", b"x");
        file(dir.path(), "a.phext", b"x");
        file(dir.path(), "notes.txt", b"x");
        let one = find(&b, None).unwrap();
        assert_eq!((one.len(), one[0].phext.as_deref()), (1, None));
        let all = find(dir.path(), None).unwrap();
        let names: Vec<_> = all.iter().map(|source| source.phext.as_deref().unwrap()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(find(dir.path(), Some("p")).is_err());
        assert!(find(&dir.path().join("none"), None).is_err());
    }

    #[test]
    fn scrolls_come_with_their_coordinates_whatever_the_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let long = "ä".repeat(PIECE);
        let text = format!("one\u{17}{long}\u{1}three");
        let source = find(&file(dir.path(), "p.phext", text.as_bytes()), None).unwrap().remove(0);
        let scrolls: Vec<_> = source.scrolls().unwrap().map(Result::unwrap).collect();
        assert_eq!(scrolls[0], ([1; 9], "one".to_owned()));
        assert_eq!(scrolls[1], ([1, 1, 1, 1, 1, 1, 1, 1, 2], long.clone()));
        assert_eq!(scrolls[2], ([2, 1, 1, 1, 1, 1, 1, 1, 1], "three".to_owned()));
        let bytes = 8 + long.len() as u64;
        let extent = source.measure().unwrap();
        assert_eq!((extent.scrolls, extent.bytes, extent.doubtful), (3, bytes, 0));
        assert_eq!(extent.checksum, xxhash_rust::xxh3::xxh3_128(text.as_bytes()));
    }

    #[test]
    fn what_is_no_phext_is_said_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let source = find(&file(dir.path(), "p.phext", b"a\x17\xff"), None).unwrap().remove(0);
        let error = source.measure().unwrap_err().to_string();
        assert!(error.contains("p.phext") && error.contains("not UTF-8 at byte 2"), "{error}");
    }
}
