//! Logs on standard error, as text or JSON.

mod queue;
mod rate_limit;

use std::{
    future,
    io::{self, IsTerminal as _},
    panic,
    str::FromStr,
    thread,
};

use tracing::error;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        self, MakeWriter,
        format::{DefaultFields, Format},
    },
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub use self::queue::dropped_lines;
use self::rate_limit::{RateLimit, Summaries};
use crate::runtime::blocking;

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

/// Running logs. Dropping it writes the lines that are still queued.
#[must_use = "lines that are logged after it is dropped are lost"]
pub struct Logs {
    /// None if logging was started before.
    summaries: Option<Summaries>,
    _queue: WorkerGuard,
}

/// Starts logging for the whole process. A second call has no effect.
pub fn start(filter: &LogFilter, format: LogFormat) -> Logs {
    let filter = EnvFilter::new(&filter.0);
    let (queue, guard) = queue::stderr();
    let (rate_limit, summaries) = RateLimit::start();
    let registry = tracing_subscriber::registry().with(filter).with(rate_limit);
    let started = match format {
        LogFormat::Text => registry.with(lines(queue)).try_init(),
        LogFormat::Json => registry.with(lines(queue).json()).try_init(),
    };
    // Fails only in a test that starts two servers.
    Logs { summaries: started.is_ok().then_some(summaries), _queue: guard }
}

impl Logs {
    /// Waits until the thread that summarizes suppressed lines ends, which is a fault.
    pub async fn failed(&mut self) -> anyhow::Error {
        match &mut self.summaries {
            Some(summaries) => summaries.ended().await,
            None => future::pending().await,
        }
        anyhow::anyhow!("the thread that summarizes suppressed log lines ended unexpectedly")
    }
}

/// Writes an error in the format [`LogFormat::Json`], whether or not the log has started, and
/// regardless of its filter.
pub fn write_error(message: &str) {
    let log = tracing_subscriber::registry().with(lines(io::stderr).json());
    tracing::subscriber::with_default(log, || error!("{message}"));
}

/// From now on the log has a line for each panic that is not expected, if it has started.
pub fn log_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if blocking::catches_panics() {
            return;
        }
        if !tracing::dispatcher::has_been_set() {
            return print(info);
        }
        let message = info.payload_as_str().unwrap_or("a value that is not a text");
        let location = info.location().map(ToString::to_string);
        error!(location, thread = thread::current().name(), "internal error (panic): {message}");
    }));
}

/// A layer that writes lines. One that can't be written, for example because the disk is full, is
/// lost: by default the layer prints that to standard error, which panics if standard error is full.
fn lines<S, W>(writer: W) -> fmt::Layer<S, DefaultFields, Format, W>
where
    W: for<'a> MakeWriter<'a> + 'static,
{
    fmt::layer()
        .with_writer(writer)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .log_internal_errors(false)
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
