//! Where a backup is written to.

use std::{io::Write, path::Path};

use anyhow::anyhow;

use crate::{
    cli::{
        Failure,
        new_file::{Existing, NewFile, PRIVATE},
    },
    store::backup::{BackupError, Check, Summary},
};

/// A file or standard output. What is written is checked on the way, so that a backup that was
/// damaged before it arrived does not become a file.
pub(super) struct Destination<'a> {
    check: Check,
    output: Output<'a>,
}

enum Output<'a> {
    Stdout(&'a mut dyn Write),
    File(NewFile),
}

impl<'a> Destination<'a> {
    /// Creates the temporary file for `path`, readable by its owner only, or selects `stdout` for `-`.
    pub(super) fn new(path: &Path, force: bool, stdout: &'a mut dyn Write) -> Result<Self, Failure> {
        let output = if path == Path::new("-") {
            Output::Stdout(stdout)
        } else {
            Output::File(NewFile::create("output", path, PRIVATE, Existing::Replaced { force })?)
        };
        Ok(Self { check: Check::default(), output })
    }

    /// Writes the next part.
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.check.push(chunk).map_err(damaged)?;
        match &mut self.output {
            Output::Stdout(out) => Ok(out.write_all(chunk)?),
            Output::File(file) => file.write(chunk),
        }
    }

    /// Ends the backup: the file is on disk, and has its name.
    pub(super) fn finish(self) -> Result<Summary, Failure> {
        let summary = self.check.end().map_err(damaged)?;
        match self.output {
            Output::Stdout(out) => out.flush()?,
            Output::File(file) => file.finish()?,
        }
        Ok(summary)
    }
}

fn damaged(error: BackupError) -> Failure {
    anyhow!(error).context("the backup that was received is not right; try again").into()
}
