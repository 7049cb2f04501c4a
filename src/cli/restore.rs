//! `headcount restore`: makes a data directory of a backup.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use clap::Args;

use super::{Failure, Outcome, Problems, Terminal, data_dir_failure};
use crate::{
    runtime::{
        blocking::run_blocking,
        files::{parent, sync_directory},
    },
    store::{
        DataDir,
        backup::{Reader, Summary, restore},
        explain,
    },
};

/// Restore a backup to a new data directory
///
/// Reads a file that `headcount backup` has written, verifies all of it, and then creates
/// the data directory, which must not exist or must be empty. If the command fails, or is
/// interrupted, the directory stays as it was.
///
/// All dataplanes of the backup are registered and disconnected until they reconnect. Clients
/// that watch receive a new snapshot: see docs/data-directory.md.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount restore --data-dir /var/lib/headcount/data headcount.backup
  gunzip < headcount.backup.gz > headcount.backup && headcount restore --data-dir data headcount.backup")]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data directory to create
    #[arg(long, value_name = "DIRECTORY", hide_env = true)]
    data_dir: PathBuf,
}

impl RestoreArgs {
    /// Restores the backup, and prints its size and age.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        problems.finish()?;
        let target = &self.data_dir;
        DataDir::check_new(target).map_err(|error| data_dir_failure(&error, None))?;
        let verified = run_blocking(|| self.read()?.read_all(drop).map_err(|error| self.not_right(&error)))?;
        let parent = parent(target);
        // Renamed when it is complete; removed with all its files if it is dropped before.
        let mut temporary = tempfile::Builder::new();
        temporary.prefix(".headcount-restore-").permissions(Permissions::from_mode(0o700));
        let temporary = temporary.tempdir_in(parent);
        let temporary = temporary.map_err(|error| cannot_create(target, &error))?;
        let written = self.fill(temporary.path()).await?;
        if written != verified {
            return Err(
                anyhow!("{} was changed while it was restored: try again", self.file.display()).into()
            );
        }
        place(temporary.path(), target)?;
        // It is not there any more.
        let _renamed = temporary.keep();
        sync_directory(parent).map_err(|error| cannot_create(target, &error))?;
        let created = humantime::format_rfc3339_seconds(written.header.created);
        terminal.print(&format!(
            "{}: {} entries of the backup of {created}\n",
            target.display(),
            written.entries,
        ))?;
        Ok(Outcome::Success)
    }

    fn read(&self) -> Result<Reader<BufReader<File>>, Failure> {
        let file = File::open(&self.file).map_err(|error| {
            let text = format!("cannot read {}: {}", self.file.display(), explain(&error));
            if error.kind() == io::ErrorKind::NotFound { Failure::Usage(text) } else { anyhow!(text).into() }
        })?;
        Ok(Reader::new(BufReader::with_capacity(64 << 10, file)))
    }

    /// Writes the entries to a directory that is empty, and closes it.
    async fn fill(&self, directory: &Path) -> Result<Summary, Failure> {
        let opened = run_blocking(|| DataDir::create_new(directory));
        let directory = opened.map_err(|error| data_dir_failure(&error, None))?;
        restore(self.read()?, &directory.stores()).await.map_err(|error| self.not_right(&error))
    }

    fn not_right(&self, error: &dyn std::fmt::Display) -> Failure {
        anyhow!("{}: {error}. Nothing was restored", self.file.display()).into()
    }
}

/// Gives the complete directory its name, in one step. Fails if the target is not empty by now.
fn place(complete: &Path, target: &Path) -> Result<(), Failure> {
    fs::rename(complete, target).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::DirectoryNotEmpty => "; it is no longer empty: choose another one",
            io::ErrorKind::ResourceBusy => "; it is a mount point: choose a new directory in it",
            _ => "",
        };
        anyhow!("{}{remedy}", cannot_create(target, &error)).into()
    })
}

fn cannot_create(target: &Path, error: &io::Error) -> anyhow::Error {
    anyhow!("cannot create the data directory {}: {}", target.display(), explain(error))
}
