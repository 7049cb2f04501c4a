//! `headcount completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failure, Outcome, Terminal};

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  source <(headcount completions bash)         complete in this shell
  headcount completions zsh > ~/.zfunc/_headcount
  headcount completions fish > ~/.config/fish/completions/headcount.fish")]
pub(super) struct CompletionsArgs {
    /// Shell that will run the script
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(&self, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        // Into memory first: clap_complete panics if a write fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "headcount", &mut script);
        terminal.print(&String::from_utf8_lossy(&script))?;
        Ok(Outcome::Success)
    }
}
