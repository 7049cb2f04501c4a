//! The command line: one file or folder per command.
//!
//! ```text
//! argv, HEADCOUNT_*, --config FILE
//!        │ config        merges the three; one rule derives variables and keys from flags
//!        ▼
//!  Cli + Problems        args: values are `Parsed`, so that no error hides the others
//!        │ <command>     checks its values, reports all problems or runs
//!        ▼
//!  Outcome | Failure     outcome: the only place that knows exit codes
//! ```
//!
//! Commands write to a [`Terminal`], so that tests can read what a user would see. A new command
//! is a file here, a variant of `Command`, and a section in `docs/configuration.md`.

mod agent;
mod apply;
mod args;
mod backup;
mod client;
mod completions;
mod config;
mod context;
mod delete;
mod envoy;
mod generate;
mod get;
mod kubeconfig;
mod new_file;
mod outcome;
mod output;
mod restore;
mod revoke;
mod serve;
mod simulate;
mod store;
mod terminal;
#[cfg(test)]
mod tests;
mod wait;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

pub use args::{Parsed, Problems, choice};
use config::Sources;
pub use context::Contexts;
pub use outcome::{Failure, Outcome, internal_error};
pub use output::Format;
pub use terminal::Terminal;

use crate::store::DataDirError;

/// Position of a global flag in help: after the flags of the command.
const LAST: usize = 900;

/// Count dataplane proxies per workload
///
/// headcount is a control plane that knows, for each workload, how many dataplane proxies are
/// registered, connected and healthy, and sends every change to its watchers at once.
#[derive(Parser, Debug)]
#[command(
    name = "headcount",
    version,
    after_help = "\
Examples:
  headcount serve --demo                       start a server with simulated proxies
  headcount agent --dataplane-file dp.yaml     register a proxy and report its health
  headcount envoy bootstrap --dataplane-file dp.yaml
                                               configure an Envoy that needs no agent
  headcount get workloads -A                   show the counts of all workloads
  headcount get workloads -w                   show each change of the counts
  headcount wait workload web --healthy 3      wait until 3 proxies are healthy
  headcount apply -f identity.yaml             give proxies SPIFFE IDs
  headcount kubeconfig > headcount.kubeconfig  let kubectl use the server
  headcount backup --output headcount.backup   back up a server with a data directory
  headcount generate signing-key               create a key that signs tokens
  headcount revoke token --file web.token      end a token and the sessions that depend on it
  headcount context set prod --server https://headcount.example.com --ca-file ca.crt
                                               name a server and its files

Configuration:
  Each flag can also be set by an environment variable and by a key of the YAML
  file that --config names: --request-timeout, HEADCOUNT_REQUEST_TIMEOUT,
  requestTimeout. The flag takes precedence over the variable, the variable over
  the file, and the file over the default. A duration is a number with a unit,
  such as 250ms, 10s or 1h30m, of at most a year.

Exit codes:
  0    success
  1    negative result: a wait timed out, a named resource does not exist, a
       simulation found a wrong count or lost a session, or store verify found a
       problem
  2    failure: the server can't be reached or returned an error, or serve or
       agent could not start or go on
  64   the command line, the configuration or the request is invalid
  70   a bug in headcount; standard error has the details
  130  interrupted by Ctrl-C; serve and agent shut down gracefully, with 0"
)]
pub struct Cli {
    /// YAML file with values for flags
    #[arg(long, global = true, value_name = "FILE", display_order = LAST)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Agent(agent::AgentArgs),
    Envoy(envoy::EnvoyArgs),
    Apply(apply::ApplyArgs),
    Get(get::GetArgs),
    Wait(wait::WaitArgs),
    Simulate(simulate::SimulateArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Store(store::StoreArgs),
    Generate(generate::GenerateArgs),
    Revoke(revoke::RevokeArgs),
    Delete(delete::DeleteArgs),
    Kubeconfig(kubeconfig::KubeconfigArgs),
    Context(context::ContextArgs),
    Completions(completions::CompletionsArgs),
}

/// Parses a command line and runs its command.
///
/// # Errors
///
/// Every failure of the command line, the configuration or the command. Help and the version are
/// a [`Failure::Clap`] too, with exit code 0.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    terminal: &mut Terminal<'_>,
) -> Result<Outcome, Failure> {
    run_parsed(Sources::read::<Cli>(args), terminal).await
}

/// Like [`run`], for the process: reports a failure and returns the exit code.
pub async fn run_to_exit(args: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> ExitCode {
    let sources = Sources::read::<Cli>(args);
    let format = sources.log_format::<Cli>();
    match run_parsed(sources, terminal).await {
        Ok(outcome) => outcome.into(),
        Err(failure) => failure.report(format, terminal),
    }
}

/// Boxes the commands, because some are large futures.
async fn run_parsed(sources: Sources, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
    let (cli, problems) = sources.parse::<Cli>()?;
    match cli.command {
        Command::Serve(args) => Box::pin(args.run(problems, terminal)).await,
        Command::Agent(args) => Box::pin(args.run(problems)).await,
        Command::Simulate(args) => Box::pin(args.run(problems, terminal)).await,
        Command::Kubeconfig(args) => args.run(problems, terminal),
        Command::Apply(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Get(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Wait(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Backup(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Restore(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Store(args) => args.run(problems, terminal),
        Command::Generate(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Revoke(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Delete(args) => interruptible(Box::pin(args.run(problems, terminal))).await,
        Command::Envoy(args) => args.run(problems, terminal),
        Command::Context(args) => args.run(problems, terminal),
        // Reads no configuration, so problems of the file don't matter.
        Command::Completions(args) => args.run(terminal),
    }
}

/// A data directory that can't be used. `backup` is the file that was to be written, if the command
/// could use a running server instead of its directory.
fn data_dir_failure(error: &DataDirError, backup: Option<&Path>) -> Failure {
    let text = match backup {
        Some(file) if error.is_locked() => {
            let file = file.display();
            format!(
                "{error}, or back up the running server: headcount backup --server ADDRESS --output {file}"
            )
        }
        _ => error.to_string(),
    };
    if error.is_usage() {
        Failure::Usage(format!("--data-dir: {text}"))
    } else {
        anyhow::anyhow!(text).into()
    }
}

/// Ends a command that has no cleanup on Ctrl-C.
async fn interruptible(command: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    tokio::select! {
        ended = command => ended,
        Ok(()) = tokio::signal::ctrl_c() => Ok(Outcome::Interrupted),
    }
}
