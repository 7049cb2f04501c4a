//! Where a backup is written to.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use tempfile::NamedTempFile;

use crate::{
    cli::Failure,
    runtime::files::{parent, sync_directory},
    store::{
        backup::{BackupError, Check, Summary},
        explain,
    },
};

/// A file or standard output. What is written is checked on the way, so that a backup that was
/// damaged before it arrived does not become a file.
pub(super) struct Destination<'a> {
    check: Check,
    output: Output<'a>,
}

enum Output<'a> {
    Stdout(&'a mut dyn Write),
    /// Removed when it is dropped before it got its name.
    File {
        temporary: NamedTempFile,
        path: PathBuf,
        replace: bool,
    },
}

impl<'a> Destination<'a> {
    /// Creates the temporary file for `path`, readable by its owner only, or selects `stdout` for `-`.
    pub(super) fn new(path: &Path, replace: bool, stdout: &'a mut dyn Write) -> Result<Self, Failure> {
        let check = Check::default();
        if path == Path::new("-") {
            return Ok(Self { check, output: Output::Stdout(stdout) });
        }
        if !replace && path.symlink_metadata().is_ok() {
            return Err(exists(path));
        }
        let file = NamedTempFile::with_prefix_in(".headcount-backup-", parent(path));
        let temporary = file.map_err(|error| cannot_write(path, &error))?;
        Ok(Self { check, output: Output::File { temporary, path: path.to_owned(), replace } })
    }

    /// Writes the next part.
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.check.push(chunk).map_err(damaged)?;
        match &mut self.output {
            Output::Stdout(out) => Ok(out.write_all(chunk)?),
            Output::File { temporary, path, .. } => {
                Ok(temporary.write_all(chunk).map_err(|error| cannot_write(path, &error))?)
            }
        }
    }

    /// Ends the backup: the file is on disk, and has its name.
    pub(super) fn finish(self) -> Result<Summary, Failure> {
        let summary = self.check.end().map_err(damaged)?;
        match self.output {
            Output::Stdout(out) => out.flush()?,
            Output::File { temporary, path, replace } => {
                temporary.as_file().sync_all().map_err(|error| cannot_write(&path, &error))?;
                let named =
                    if replace { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
                match named {
                    Ok(_) => {}
                    Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                        return Err(exists(&path));
                    }
                    Err(error) => return Err(cannot_write(&path, &error.error).into()),
                }
                let directory = parent(&path);
                sync_directory(directory).map_err(|error| cannot_write(directory, &error))?;
            }
        }
        Ok(summary)
    }
}

fn exists(path: &Path) -> Failure {
    Failure::Usage(format!(
        "--output: {} exists: choose another file, or replace it with --force",
        path.display()
    ))
}

fn cannot_write(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("cannot write {}: {}", path.display(), explain(error))
}

fn damaged(error: BackupError) -> Failure {
    anyhow!(error).context("the backup that was received is not right; try again").into()
}
