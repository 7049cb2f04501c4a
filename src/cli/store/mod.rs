//! `headcount store`: commands for the data directory of a stopped server.

mod records;
mod verify;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, Problems, Terminal};

/// Check the data directory of a stopped server
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Verify(verify::VerifyArgs),
}

impl StoreArgs {
    /// Runs the subcommand.
    pub(super) fn run(self, problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let Command::Verify(args) = self.command;
        args.run(problems, terminal)
    }
}
