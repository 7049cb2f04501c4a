//! `headcount backup`: writes everything that a data directory has to a file.
//!
//! ```text
//! --server   ─► CreateBackup ─► chunks ─┐
//! --data-dir ─► stores ───────► chunks ─┴► destination (checked, then renamed)
//! ```

mod destination;

use std::{path::PathBuf, time::SystemTime};

use anyhow::Context as _;
use clap::Args;

use self::destination::Destination;
use super::{
    Failure, Outcome, Problems, Terminal,
    args::server::{ServerArgs, Target},
    client::Client,
    data_dir_failure,
};
use crate::{
    proto::CreateBackupRequest,
    runtime::blocking::run_blocking,
    store::{DataDir, backup::Chunks},
};

/// Back up a server's data directory
///
/// Writes the registrations and all other state of a server to one text file with a
/// checksum, which `headcount restore` reads. The backup comes from a running server, or
/// with --data-dir from the data directory of a stopped one.
///
/// The file is readable by its owner only. It is complete if it exists: the backup is
/// written to a temporary file in the same directory, verified, and renamed. The
/// caller needs the role `operator`, or is one that the server trusts without a credential: see
/// docs/access.md.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount backup --output headcount.backup
  headcount backup --server headcount.mesh.svc:7100 --output headcount.backup --force
  headcount backup --data-dir /var/lib/headcount/data --output headcount.backup
  headcount backup --output - | gzip > headcount.backup.gz")]
pub(super) struct BackupArgs {
    /// File to write; - is standard output
    #[arg(short, long, value_name = "FILE", hide_env = true)]
    output: PathBuf,
    /// Replace an existing file
    #[arg(long, hide_env = true)]
    force: bool,
    /// Data directory of a stopped server; no server is called then
    #[arg(long, value_name = "DIRECTORY", hide_env = true)]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

impl BackupArgs {
    /// Makes the backup, and prints its size to stderr.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let source = self.source(problems)?;
        let mut destination = Destination::new(&self.output, self.force, terminal.out)?;
        match source {
            Source::Directory(path) => {
                let directory = run_blocking(|| DataDir::open_existing(&path))
                    .map_err(|error| data_dir_failure(&error, Some(&self.output)))?;
                copy_stores(&directory, &mut destination).await?;
            }
            Source::Server(target) => copy_response(*target, &mut destination).await?,
        }
        let summary = destination.finish()?;
        let (entries, bytes) = (summary.entries, summary.bytes);
        terminal.remark(format_args!("{}: {entries} entries, {bytes} bytes", self.output.display()));
        Ok(Outcome::Success)
    }

    fn source(&self, mut problems: Problems) -> Result<Source, Failure> {
        let Some(path) = &self.data_dir else {
            let (target, ()) = self.server.clone().finish(Some(()), problems)?;
            return Ok(Source::Server(Box::new(target)));
        };
        if let Some(flag) = self.server.flag(&problems) {
            let problem =
                format!("can't be combined with --{flag}: a server has a directory of its own: remove one");
            problems.note("data-dir", &problem);
        }
        problems.finish()?;
        Ok(Source::Directory(path.clone()))
    }
}

/// Where the entries of a backup are from.
enum Source {
    Server(Box<Target>),
    /// The data directory of a stopped server.
    Directory(PathBuf),
}

async fn copy_stores(directory: &DataDir, destination: &mut Destination<'_>) -> Result<(), Failure> {
    let mut chunks = Chunks::new(&directory.stores(), SystemTime::now());
    while let Some(chunk) = chunks.next().await.context("the backup failed")? {
        destination.write(&chunk)?;
    }
    Ok(())
}

async fn copy_response(target: Target, destination: &mut Destination<'_>) -> Result<(), Failure> {
    let client = Client::connect(target).await?;
    let explain = |status| client.explain(&status);
    let call = async { client.backups().create_backup(CreateBackupRequest {}).await };
    let mut stream = client.with_timeout(call).await.map_err(explain)?;
    while let Some(response) = client.next(&mut stream).await.map_err(explain)? {
        destination.write(&response.chunk)?;
    }
    Ok(())
}
