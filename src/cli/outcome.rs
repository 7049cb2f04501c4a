//! How a command ends, and the exit code that says so.

use std::{io, process::ExitCode};

/// How a command ended that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well, or the answer is yes.
    Success,
    /// The answer is no; the command has said so.
    No,
    /// Ended by Ctrl-C.
    Interrupted,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line as clap judges it; requests for help are among these.
    #[error("{0}")]
    Clap(clap::Error),
    /// Flags, environment or file are wrong, or what they ask for is.
    #[error("{0}")]
    Usage(String),
    /// The server could not be reached, or failed.
    #[error("{0}")]
    Server(String),
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Anything else that went wrong.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Not 1, so that "no" is never mistaken for "don't know".
const FAILED: u8 = 2;
/// `EX_USAGE` of BSD's sysexits.
const USAGE: u8 = 64;
/// 128 + SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::SUCCESS,
            Outcome::No => Self::from(1),
            Outcome::Interrupted => Self::from(INTERRUPTED),
        }
    }
}

impl Failure {
    /// Says on stderr what went wrong (help goes to stdout) and gives the exit
    /// code.
    pub fn report(&self) -> ExitCode {
        match self {
            // Whoever closed our output has seen enough: `headcount get wl | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            // If even this cannot be printed there is no one left to tell.
            Self::Clap(error) => drop(error.print()),
            failure => eprintln!("error: {failure}"),
        }
        ExitCode::from(self.exit_code())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Clap(error) if !error.use_stderr() => 0,
            Self::Clap(_) | Self::Usage(_) => USAGE,
            Self::Server(_) | Self::Output(_) | Self::Other(_) => FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_documented_code() {
        let clap = |kind| Failure::Clap(clap::Error::new(kind)).exit_code();
        assert_eq!(clap(clap::error::ErrorKind::DisplayHelp), 0);
        assert_eq!(clap(clap::error::ErrorKind::DisplayVersion), 0);
        assert_eq!(clap(clap::error::ErrorKind::UnknownArgument), 64);
        assert_eq!(clap(clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand), 64);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 64);
        assert_eq!(Failure::Server(String::new()).exit_code(), 2);
    }

    #[test]
    fn a_reader_who_went_away_is_no_failure() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(gone.report(), ExitCode::SUCCESS);
    }
}
