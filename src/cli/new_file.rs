//! A file that a command writes.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use tempfile::NamedTempFile;

use super::Failure;
use crate::{
    runtime::files::{parent, sync_directory},
    store::explain,
};

/// Permissions of a file with a secret.
pub(super) const PRIVATE: u32 = 0o600;
/// Permissions of the file of a public key or a certificate.
pub(super) const PUBLIC: u32 = 0o644;

/// What is done about a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It stays: keys and certificates are never overwritten.
    Stays,
    /// It is replaced if the command has the flag `--force`.
    Replaced { force: bool },
}

/// A file that gets its name when it is complete. Dropped before, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct NewFile {
    flag: &'static str,
    path: PathBuf,
    temporary: NamedTempFile,
    existing: Existing,
}

impl NewFile {
    /// Creates a file with a temporary name in the directory of `path`, which `flag` names.
    ///
    /// # Errors
    ///
    /// If there is a file that stays, or the directory can't be written.
    pub(super) fn create(
        flag: &'static str,
        path: &Path,
        mode: u32,
        existing: Existing,
    ) -> Result<Self, Failure> {
        check_absent(flag, path, existing)?;
        let created = NamedTempFile::with_prefix_in(".headcount-new-", parent(path));
        let temporary = created.and_then(|file| {
            file.as_file().set_permissions(Permissions::from_mode(mode))?;
            Ok(file)
        });
        let temporary = temporary.map_err(|error| cannot_write(flag, path, &error))?;
        Ok(Self { flag, path: path.to_owned(), temporary, existing })
    }

    /// Writes the next part.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub(super) fn write(&mut self, part: &[u8]) -> Result<(), Failure> {
        let written = self.temporary.write_all(part);
        written.map_err(|error| cannot_write(self.flag, &self.path, &error).into())
    }

    /// Gives the file its name. It is on disk then.
    ///
    /// # Errors
    ///
    /// If it can't be written, or a file of this name was created meanwhile.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self { flag, path, temporary, existing } = self;
        let cannot_write = |error: &io::Error| cannot_write(flag, &path, error);
        temporary.as_file().sync_all().map_err(|error| cannot_write(&error))?;
        let named = match existing {
            Existing::Replaced { force: true } => temporary.persist(&path),
            Existing::Replaced { force: false } | Existing::Stays => temporary.persist_noclobber(&path),
        };
        named.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(flag, &path, existing),
            _ => cannot_write(&error.error).into(),
        })?;
        Ok(sync_directory(parent(&path)).map_err(|error| cannot_write(&error))?)
    }
}

/// Checks that there is no file of this name that stays.
pub(super) fn check_absent(flag: &str, path: &Path, existing: Existing) -> Result<(), Failure> {
    let is_replaced = existing == Existing::Replaced { force: true };
    if is_replaced || path.symlink_metadata().is_err() { Ok(()) } else { Err(exists(flag, path, existing)) }
}

fn exists(flag: &str, path: &Path, existing: Existing) -> Failure {
    let remedy = match existing {
        Existing::Stays => "choose another file; keys and certificates are never overwritten",
        Existing::Replaced { .. } => "choose another file, or replace it with --force",
    };
    Failure::Usage(format!("--{flag}: {} exists: {remedy}", path.display()))
}

fn cannot_write(flag: &str, path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("--{flag}: cannot write {}: {}", path.display(), explain(error))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KEPT: Existing = Existing::Replaced { force: false };
    const FORCED: Existing = Existing::Replaced { force: true };

    struct Fixture {
        directory: tempfile::TempDir,
        path: PathBuf,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("web.token");
            Self { directory, path }
        }

        fn create(&self, existing: Existing) -> Result<NewFile, Failure> {
            NewFile::create("output", &self.path, PRIVATE, existing)
        }

        fn write(&self, text: &str, existing: Existing) -> Result<(), Failure> {
            let mut file = self.create(existing)?;
            file.write(text.as_bytes())?;
            file.finish()
        }

        fn text(&self) -> String {
            fs::read_to_string(&self.path).unwrap()
        }

        fn files(&self) -> usize {
            fs::read_dir(self.directory.path()).unwrap().count()
        }
    }

    #[test]
    fn only_the_owner_can_read_the_file_also_one_that_replaces_another() {
        let f = Fixture::new();
        fs::write(&f.path, "old").unwrap();
        fs::set_permissions(&f.path, Permissions::from_mode(0o644)).unwrap();
        f.write("new", FORCED).unwrap();
        assert_eq!((f.text(), f.files()), ("new".into(), 1));
        assert_eq!(fs::metadata(&f.path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_existing_file_stays_also_one_that_was_created_meanwhile() {
        for (existing, remedy) in [(KEPT, "replace it with --force"), (Existing::Stays, "never overwritten")]
        {
            let f = Fixture::new();
            let mut file = f.create(existing).unwrap();
            file.write(b"new").unwrap();
            fs::write(&f.path, "old").unwrap();
            for failed in [file.finish().unwrap_err(), f.create(existing).map(drop).unwrap_err()] {
                let text = failed.to_string();
                assert!(text.starts_with("--output: ") && text.contains(remedy), "{text}");
                assert_eq!(failed.exit_code(), 64);
            }
            assert_eq!((f.text(), f.files()), ("old".into(), 1));
        }
    }

    #[test]
    fn a_file_that_is_not_complete_leaves_nothing() {
        let f = Fixture::new();
        f.create(KEPT).unwrap().write(b"a part").unwrap();
        assert_eq!(f.files(), 0);
    }

    #[test]
    fn a_missing_directory_is_an_error_that_names_the_flag() {
        let f = Fixture { path: "/nowhere/web.token".into(), ..Fixture::new() };
        let failed = f.create(FORCED).map(drop).unwrap_err();
        let text = failed.to_string();
        assert!(text.starts_with("--output: cannot write /nowhere/web.token: "), "{text}");
        assert!(text.contains("check the path"), "{text}");
    }
}
