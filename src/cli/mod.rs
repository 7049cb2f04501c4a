//! The command line: what a person or a script says, and what they hear.
//!
//! ```text
//! argv, HEADCOUNT_*, --config FILE
//!        │ config        one rule names all three; precedence is clap's
//!        ▼
//!  Cli + Problems        values are `Parsed`: nothing stops at the first error
//!        │ <command>.rs  takes its values, or reports all that is wrong
//!        ▼
//!  Outcome | Failure     typed; only `main` knows exit codes
//! ```
//!
//! Commands write to a [`Terminal`], so tests read what a person would.

mod agent;
mod args;
mod client;
mod completions;
mod config;
mod envoy;
mod get;
mod kubeconfig;
mod outcome;
mod output;
mod serve;
mod simulate;
mod terminal;
mod wait;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, Subcommand};

pub use args::{Parsed, Problems, choice};
// `envoy` finds these here.
use args::{dataplane_file, server_url};
pub use outcome::{Failure, Outcome};
pub use output::Format;
pub use terminal::Terminal;

/// Puts a flag of all commands behind those of each.
const LAST: usize = 900;

/// Counts dataplane proxies per workload
///
/// headcount always knows, per workload, how many dataplane proxies are
/// registered, connected and healthy, and tells every watcher the moment that
/// changes.
#[derive(Parser, Debug)]
#[command(
    name = "headcount",
    version,
    after_help = "\
Examples:
  headcount serve --demo                       a server with simulated proxies, to look around
  headcount agent --dataplane-file dp.yaml     registers a proxy and reports its health
  headcount envoy bootstrap --dataplane-file dp.yaml
                                               for an Envoy that needs no agent
  headcount get workloads -A                   the head count of every workload
  headcount get workloads -w                   and every change from now on
  headcount wait workload web --healthy 3      for deploy scripts
  headcount kubeconfig > headcount.kubeconfig  for kubectl

Configuration:
  Each flag, such as --request-timeout, is also an environment variable,
  HEADCOUNT_REQUEST_TIMEOUT, and a key of the --config file (YAML),
  requestTimeout. The flag goes before the variable, the variable before the
  file, the file before the default.

Exit codes:
  0    success, or the answer is yes
  1    the answer is no: a wait timed out, or what was named is not there
  2    the server could not be reached, or it failed
  64   the command line or the configuration is wrong
  130  ended by Ctrl-C; serve and agent end in good order, with 0"
)]
pub struct Cli {
    /// A YAML file with values for flags
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
    Get(get::GetArgs),
    Wait(wait::WaitArgs),
    Simulate(simulate::SimulateArgs),
    Kubeconfig(kubeconfig::KubeconfigArgs),
    Completions(completions::CompletionsArgs),
}

/// Parses a command line and does what it says.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    terminal: &mut Terminal<'_>,
) -> Result<Outcome, Failure> {
    let (cli, problems) = config::parse::<Cli>(args)?;
    match cli.command {
        Command::Serve(args) => args.run(problems, terminal).await,
        Command::Agent(args) => args.run(problems).await,
        Command::Simulate(args) => args.run(problems, terminal).await,
        Command::Kubeconfig(args) => args.run(problems, terminal),
        Command::Get(args) => interruptible(args.run(problems, terminal)).await,
        Command::Wait(args) => interruptible(args.run(problems, terminal)).await,
        Command::Envoy(args) => args.run(problems, terminal),
        // Needs no configuration, so none can keep it from working.
        Command::Completions(args) => args.run(terminal),
    }
}

/// Lets Ctrl-C end a command that has nothing to tidy up.
async fn interruptible(command: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    tokio::select! {
        ended = command => ended,
        Ok(()) = tokio::signal::ctrl_c() => Ok(Outcome::Interrupted),
    }
}
