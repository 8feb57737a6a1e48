//! What an SQ installation holds: its tenants, as its tenants file names them, and the phext files
//! of each; or, without a tenants file, one directory of phexts, which becomes tenant `default`.
//!
//! Nothing is guessed. What cannot be moved, a file that is no phext or whose name cannot be one,
//! is a [`Problem`] that is reported, and the rest moves.

use std::fs;
use std::path::{Path, PathBuf};

use ranch_proto::api_key::Secret;
use ranch_router::tenants_file::{self, FileKey, FileTenant, Quota};

use super::super::error::CliError;
use super::source::{self, Source};
use super::{Extent, ImportError};

/// The tenant that phexts without an owner go to.
const DEFAULT_TENANT: &str = "default";
/// Name of the tenants file in a data directory.
const TENANTS_FILE: &str = "tenants.json";

/// One tenant with all that it has.
pub struct Household {
    /// The tenant's id.
    pub id: String,
    /// Its keys in SQ.
    pub keys: Vec<Secret>,
    /// Most it may store.
    pub quota_bytes: Option<u64>,
    /// Whether it has access.
    pub enabled: bool,
    /// Its phexts, read through.
    pub phexts: Vec<(Source, Extent)>,
}

/// Something that is not as it should be, in a sentence.
pub type Problem = String;

/// All that is to be moved, and what cannot be.
#[derive(Default)]
pub struct Installation {
    /// The tenants.
    pub tenants: Vec<Household>,
    /// What cannot be moved.
    pub problems: Vec<Problem>,
    /// What can, but should be looked at.
    pub remarks: Vec<String>,
}

impl Installation {
    /// Whether `path` is an installation rather than phexts of one tenant: a tenants file, or a
    /// directory with one in it.
    pub fn is_at(path: &Path) -> bool {
        is_tenants_file(path) || path.join(TENANTS_FILE).is_file()
    }

    /// Reads an installation through: a tenants file, a directory with one, or a directory of
    /// phexts. Changes nothing.
    ///
    /// # Errors
    /// When the tenants file or a directory cannot be read, or there is nothing to move.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let file = if path.is_dir() { path.join(TENANTS_FILE) } else { path.to_owned() };
        let mut found = Self::default();
        if file.is_file() {
            let text = fs::read(&file).map_err(CliError::file("read", &file))?;
            let contents = tenants_file::parse(&text).map_err(|source| {
                ImportError::TenantsFile { path: file.clone(), reason: source.to_string() }
            })?;
            found.remarks.extend(contents.warnings);
            let base = file.parent().unwrap_or(Path::new("."));
            for tenant in contents.tenants {
                found.tenant(base, tenant)?;
            }
        } else {
            let mut household = Household::empty(DEFAULT_TENANT);
            found.phexts(path, &mut household)?;
            found.tenants.push(household);
        }
        if found.tenants.iter().all(|tenant| tenant.phexts.is_empty()) {
            found.problems.push(format!("there is no *.phext file to move in {}", path.display()));
        }
        Ok(found)
    }

    /// Phexts of a tenant that is known by its key, not by its name.
    pub fn of_one_tenant(phexts: Vec<(Source, Extent)>) -> Self {
        let tenants = vec![Household { phexts, ..Household::empty("") }];
        Self { tenants, ..Self::default() }
    }

    fn tenant(&mut self, base: &Path, tenant: FileTenant) -> Result<(), CliError> {
        let given = tenant.data_dir.as_deref().unwrap_or(&tenant.id);
        // A hash is of a key of another ranch: it opens nothing here.
        let keys = tenant.keys.into_iter().filter_map(FileKey::into_plain);
        let mut household = Household {
            keys: keys.collect(),
            quota_bytes: match tenant.quota {
                Some(Quota::Bytes(bytes)) => Some(bytes),
                Some(Quota::Unlimited) | None => None,
            },
            enabled: tenant.enabled != Some(false),
            ..Household::empty(&tenant.id)
        };
        match directory(base, given) {
            Some(dir) => self.phexts(&dir, &mut household)?,
            None => self.problems.push(format!(
                "tenant {}: its data directory {given} is not there, nor beside the tenants \
                 file; put it there, or correct data_dir",
                household.id
            )),
        }
        self.tenants.push(household);
        Ok(())
    }

    fn phexts(&mut self, dir: &Path, household: &mut Household) -> Result<(), CliError> {
        for file in source::phexts_in(dir).map_err(CliError::file("read", dir))? {
            let checked = source::phext_named_by(&file).map_err(CliError::from).and_then(|name| {
                let source = Source::file(&file, Some(name));
                source.measure().map(|extent| (source, extent))
            });
            match checked {
                Ok((source, extent)) => {
                    if extent.doubtful > 0 {
                        self.remarks.push(format!(
                            "{}: {} scroll(s) hold U+FFFD, left where text was lost before; \
                             they move as they are",
                            source.name, extent.doubtful
                        ));
                    }
                    household.phexts.push((source, extent));
                }
                Err(error) => self.problems.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Scrolls and bytes of everything.
    pub fn extent(&self) -> Extent {
        let all = self.tenants.iter().flat_map(|tenant| &tenant.phexts);
        all.fold(Extent::default(), |sum, (_, extent)| Extent {
            scrolls: sum.scrolls + extent.scrolls,
            bytes: sum.bytes + extent.bytes,
            ..sum
        })
    }
}

impl Household {
    fn empty(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            keys: Vec::new(),
            quota_bytes: None,
            enabled: true,
            phexts: Vec::new(),
        }
    }
}

fn is_tenants_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Where a tenant's data is: as the file says, or under the same name beside the file, as when an
/// installation was copied from another machine.
fn directory(base: &Path, given: &str) -> Option<PathBuf> {
    let name = given.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next()?;
    let candidates = [base.join(given), PathBuf::from(given), base.join(name)];
    candidates.into_iter().find(|candidate| candidate.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn an_installation_is_read_with_all_that_is_wrong_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(TENANTS_FILE);
        write(
            file.clone(),
            br#"{"tenants":{
                "key-1":{"name":"ann","data_dir":"/far/away/ann"},
                "key-2":{"name":"bob","data_dir":"bob"},
                "key-3":{"name":"gone","data_dir":"gone"}}}"#,
        );
        write(dir.path().join("ann/a.phext"), b"one\x17two");
        write(dir.path().join("ann/broken.phext"), b"one\xfftwo");
        write(dir.path().join("bob/b.phext"), "lost: \u{fffd}".as_bytes());
        write(dir.path().join("bob/notes.txt"), b"no phext");
        for path in [dir.path(), &file] {
            assert!(Installation::is_at(path));
            let found = Installation::read(path).unwrap();
            let phexts = found.tenants.iter().map(|tenant| tenant.phexts.len());
            assert_eq!(phexts.collect::<Vec<_>>(), [1, 1, 0]);
            assert_eq!(found.extent().scrolls, 3);
            assert_eq!(found.remarks.len(), 1, "{:?}", found.remarks);
            let problems = found.problems.join("\n");
            assert!(problems.contains("broken.phext: "), "{problems}");
            assert!(problems.contains("tenant gone: its data directory gone"), "{problems}");
            assert_eq!(found.problems.len(), 2);
        }
    }

    #[test]
    fn a_directory_without_owners_is_of_the_default_tenant() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("index.phext"), b"hello");
        assert!(!Installation::is_at(dir.path()));
        let found = Installation::read(dir.path()).unwrap();
        assert_eq!(found.tenants[0].id, DEFAULT_TENANT);
        assert_eq!((found.tenants.len(), found.extent().scrolls), (1, 1));
        assert!(found.problems.is_empty());
    }

    #[test]
    fn a_tenants_file_that_is_none_moves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.json");
        write(file.clone(), b"{");
        let error = Installation::read(&file).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("t.json") && error.contains("not JSON"), "{error}");
    }
}
