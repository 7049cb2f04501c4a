//! `--log` and `--log-format`, the flags of every command that writes a log.

use clap::Args;

use super::{Parsed, Problems};
use crate::telemetry::logs::{self, LogFilter, LogFormat, Logs};

#[derive(Args, Debug)]
#[command(next_help_heading = "Logs")]
pub(in crate::cli) struct LogArgs {
    /// Log level: error, warn, info, debug or trace; or levels per module, such as info,h2=warn
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: Parsed<LogFilter>,
    /// Format of the log on standard error: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Parsed<LogFormat>,
}

/// Valid log settings.
pub(in crate::cli) struct LogSettings {
    filter: LogFilter,
    format: LogFormat,
}

impl LogArgs {
    /// Returns the settings, or adds the invalid flags to `problems`.
    pub(in crate::cli) fn check(self, problems: &mut Problems) -> Option<LogSettings> {
        let filter = problems.take("log", self.log);
        let format = problems.take("log-format", self.log_format);
        Some(LogSettings { filter: filter?, format: format? })
    }
}

impl LogSettings {
    /// Starts logging for the whole process.
    pub(in crate::cli) fn start(&self) -> Logs {
        logs::start(&self.filter, self.format)
    }
}
