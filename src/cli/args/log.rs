//! Flags about logs, of the commands that write one.

use clap::Args;

use super::{Parsed, Problems};
use crate::telemetry::logs::{self, LogFilter, LogFormat};

#[derive(Args, Debug)]
#[command(next_help_heading = "Logs")]
pub(in crate::cli) struct LogArgs {
    /// Which lines to write: a level, or levels by module (info,h2=warn)
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: Parsed<LogFilter>,
    /// text for people or json for machines
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Parsed<LogFormat>,
}

/// How to log, checked.
pub(in crate::cli) struct Logs {
    filter: LogFilter,
    format: LogFormat,
}

impl LogArgs {
    pub(in crate::cli) fn check(self, problems: &mut Problems) -> Option<Logs> {
        let filter = problems.take("log", self.log);
        let format = problems.take("log-format", self.log_format);
        Some(Logs { filter: filter?, format: format? })
    }
}

impl Logs {
    pub(in crate::cli) fn start(&self) {
        logs::start(&self.filter, self.format);
    }
}
