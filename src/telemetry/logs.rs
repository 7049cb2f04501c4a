//! Logs on standard error, as text or JSON.

mod rate_limit;

use std::{
    io::{self, IsTerminal as _},
    str::FromStr,
};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use self::rate_limit::RateLimit;

/// The format of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json"),
        }
    }
}

/// Selects the log lines to write: a level, or levels by module, in the syntax of
/// [`EnvFilter`] (`info`, `headcount=debug,h2=warn`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text).map_err(|error| format!("{error}; try info, or headcount=debug,h2=warn"))?;
        Ok(Self(text.to_owned()))
    }
}

/// Starts logging for the whole process. A second call has no effect.
pub fn start(filter: &LogFilter, format: LogFormat) {
    let filter = EnvFilter::new(&filter.0);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_target(false);
    let registry = tracing_subscriber::registry().with(filter).with(RateLimit::new());
    let started = match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
    // Fails only in a test that starts two servers.
    drop(started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_filter_is_rejected() {
        assert!("headcount=debug,h2=warn".parse::<LogFilter>().is_ok());
        let error = "headcount=loud".parse::<LogFilter>().unwrap_err();
        assert!(error.contains("try info"), "{error}");
    }
}
