//! Results of commands and their exit codes.

use std::{io, process::ExitCode};

use super::Terminal;
use crate::telemetry::logs::{self, LogFormat};

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
/// `EX_SOFTWARE` of BSD's sysexits.
const INTERNAL: u8 = 70;

/// The exit code after a panic, which is a bug in headcount.
pub fn internal_error() -> ExitCode {
    ExitCode::from(INTERNAL)
}

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
    /// Prints the error to stderr, in the format of the log, or help to stdout, and returns the exit
    /// code. An error that can't be written is lost; the exit code stays the same.
    pub fn report(&self, format: LogFormat, terminal: &mut Terminal<'_>) -> ExitCode {
        match self {
            Self::Clap(help) if !help.use_stderr() => {
                if let Err(error) = help.print() {
                    return Self::Output(error).report(format, terminal);
                }
            }
            // The reader closed the pipe, as in `headcount get wl | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Clap(error) if format == LogFormat::Text => drop(error.print()),
            failure if format == LogFormat::Text => terminal.remark(format_args!("error: {failure}")),
            failure => {
                let text = failure.to_string();
                logs::write_error(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            }
        }
        ExitCode::from(self.exit_code())
    }

    pub(super) fn exit_code(&self) -> u8 {
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
        let (mut out, mut err) = (io::sink(), Vec::new());
        let mut terminal = Terminal { out: &mut out, err: &mut err };
        assert_eq!(closed.report(LogFormat::Text, &mut terminal), ExitCode::SUCCESS);
        assert_eq!(err, b"");
    }
}
