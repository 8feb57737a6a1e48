//! Certificates and keys on disk: each whole or not there, keys for their owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use ranch_proto::tls::CertFiles;

use super::super::error::CliError;

/// Who may read a key, and a certificate.
pub const KEY_MODE: u32 = 0o600;
pub const CERT_MODE: u32 = 0o644;

/// Makes the directory, for its owner alone, where there is none.
pub fn make_dir(certs: &CertFiles) -> Result<(), CliError> {
    let dir = certs.dir();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(CliError::file("create", dir))
}

/// Writes a file anew: after a crash there is the old one or the new one.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    let write = || {
        let _ = fs::remove_file(beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)?;
        let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(CliError::file("write", path))
}
