//! `headcount envoy`: what an Envoy needs that reports without an agent.
//!
//! ```text
//! --dataplane-file ─► agent::DataplaneFile ─► node ──────────┐
//! --control-plane  ─► server_url           ─► control_plane ─┼─► document ─► YAML
//! --admin-addr     ─────────────────────────► admin ─────────┘
//! ```

mod admin;
mod bootstrap;
mod control_plane;
mod document;
mod node;
#[cfg(test)]
mod tests;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, Problems, Terminal};

/// Prepare an Envoy that reports to headcount by itself
///
/// Envoy's Health Discovery Service makes an unmodified Envoy a dataplane proxy
/// of a workload: connected while its stream lives, healthy by what its own
/// checks say of the application behind it.
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct EnvoyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Bootstrap(bootstrap::BootstrapArgs),
}

impl EnvoyArgs {
    /// Prints what was asked for.
    pub(super) fn run(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let Command::Bootstrap(args) = self.command;
        args.run(problems, terminal)
    }
}
