//! Results of commands and their exit codes.

use std::{io, process::ExitCode};

/// The result of a command that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Success, or a positive result.
    Success,
    /// A negative result, which the command has printed: a wait timed out, a named resource
    /// does not exist, or a simulation found a wrong count.
    Negative,
    /// Interrupted by Ctrl-C.
    Interrupted,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// clap rejected the command line, or printed help or the version.
    #[error("{0}")]
    Clap(clap::Error),
    /// The configuration or the request is invalid.
    #[error("{0}")]
    Usage(String),
    /// The server can't be reached or returned an error.
    #[error("{0}")]
    Server(String),
    /// The output can't be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Any other error.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Not 1, so that a script can tell a failure from a negative result.
const FAILED: u8 = 2;
/// `EX_USAGE` of BSD's sysexits.
const USAGE: u8 = 64;
/// 128 + SIGINT, as in shells.
const INTERRUPTED: u8 = 130;

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::SUCCESS,
            Outcome::Negative => Self::from(1),
            Outcome::Interrupted => Self::from(INTERRUPTED),
        }
    }
}

impl Failure {
    /// Prints the error to stderr, or help to stdout, and returns the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            // The reader closed the pipe, as in `headcount get wl | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            // Nothing is left to do if stderr can't be written.
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
    fn failures_have_the_documented_exit_codes() {
        let clap = |kind| Failure::Clap(clap::Error::new(kind)).exit_code();
        assert_eq!(clap(clap::error::ErrorKind::DisplayHelp), 0);
        assert_eq!(clap(clap::error::ErrorKind::DisplayVersion), 0);
        assert_eq!(clap(clap::error::ErrorKind::UnknownArgument), 64);
        assert_eq!(clap(clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand), 64);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 64);
        assert_eq!(Failure::Server(String::new()).exit_code(), 2);
    }

    #[test]
    fn a_closed_pipe_is_a_success() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(closed.report(), ExitCode::SUCCESS);
    }
}
