//! The administrator's key, which opens everything: whether it is there, and who can read it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::cli::local::ADMIN_KEY_FILE;

const CHECK: &str = "admin key";
/// Bits of a mode that let anybody but the owner in.
const NOT_OWNER: u32 = 0o077;

/// The file with the key.
#[derive(Debug)]
pub struct KeyFile {
    /// Where it is, or would be.
    pub path: PathBuf,
    /// Its mode and its size, or why they are not known.
    pub entry: Result<(u32, u64), ErrorKind>,
}

/// Judges the file.
pub fn judge(file: &KeyFile) -> Vec<Finding> {
    let path = file.path.display();
    let finding = match file.entry {
        Err(ErrorKind::NotFound) => {
            Finding::ok(CHECK, format!("{path} is not there yet: the first start makes one"))
        }
        Err(kind) => {
            let says = format!("{path} cannot be looked at: {}", io::Error::from(kind));
            let remedy = "run this as root or as the user that the node runs as";
            Finding::warning(CHECK, says, remedy)
        }
        Ok((mode, _)) if mode & NOT_OWNER != 0 => {
            let says = format!("{path} has mode {:03o}: others can read it", mode & 0o777);
            let remedy = format!("`chmod 600 {path}`, and think about replacing the key");
            Finding::problem(CHECK, says, remedy)
        }
        Ok((_, 0)) => {
            let remedy = "restore it, or delete it if this machine has never been started";
            Finding::problem(CHECK, format!("{path} is empty"), remedy)
        }
        Ok((mode, _)) => Finding::ok(CHECK, format!("{path}, mode {:03o}", mode & 0o777)),
    };
    vec![finding]
}

/// Looks at the file in the directory that holds keys.
pub fn look(root: &Path) -> KeyFile {
    let path = root.join(ADMIN_KEY_FILE);
    let entry = fs::metadata(&path);
    KeyFile {
        entry: entry.map(|file| (file.mode(), file.len())).map_err(|error| error.kind()),
        path,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn level(entry: Result<(u32, u64), ErrorKind>) -> Level {
        judge(&KeyFile { path: "/d/admin.key".into(), entry })[0].level
    }

    #[test]
    fn only_its_owner_may_read_the_key() {
        assert_eq!(level(Ok((0o100_600, 40))), Level::Ok);
        assert_eq!(level(Ok((0o100_400, 40))), Level::Ok);
        assert_eq!(level(Ok((0o100_640, 40))), Level::Problem);
        assert_eq!(level(Ok((0o100_604, 40))), Level::Problem);
        assert_eq!(level(Ok((0o100_600, 0))), Level::Problem);
        assert_eq!(level(Err(ErrorKind::NotFound)), Level::Ok);
        assert_eq!(level(Err(ErrorKind::PermissionDenied)), Level::Warning);
    }
}
