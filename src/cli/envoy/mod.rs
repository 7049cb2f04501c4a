//! `headcount envoy`: configuration for Envoys that report to headcount without an agent.
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
mod security;
#[cfg(test)]
mod tests;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, Problems, Terminal};

/// Configure an Envoy that reports to headcount without an agent
///
/// headcount implements the server of Envoy's Health Discovery Service (HDS).
/// An unmodified Envoy that connects to it is a dataplane proxy of a workload:
/// it is connected while its HDS stream is open, and healthy while the health
/// checks that it runs against its application pass.
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
    /// Runs the subcommand.
    pub(super) fn run(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let Command::Bootstrap(args) = self.command;
        args.run(problems, terminal)
    }
}
