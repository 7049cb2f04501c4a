//! A rate limit per call site, so that a flood of errors can't flood the log.
//!
//! Each place in the code writes up to [`MAX_LINES`] lines per [`WINDOW`]; further lines are
//! counted, and one line then states the count. Lines of dependencies are limited too: h2, for
//! example, warns about every unexpected PING acknowledgement. Metrics count every event.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier, warn};
use tracing_subscriber::layer::{Context, Layer};

use super::queue::dropped_lines;

/// Lines per call site and window: as many as a person can read. A lasting flood writes 4
/// lines a second.
const MAX_LINES: u32 = 20;
/// Also the delay before the number of suppressed lines is logged.
const WINDOW: Duration = Duration::from_secs(5);

/// A layer that suppresses repeated events of level `INFO` and above. `DEBUG` and `TRACE` are
/// off unless a user asks for them, and are not limited.
pub(super) struct RateLimit {
    call_sites: Arc<Mutex<HashMap<Identifier, CallSite>>>,
    /// Notifies the thread that logs how many lines were suppressed.
    suppressed: mpsc::Sender<Summary>,
}

/// The number of suppressed lines of this call site is to be logged at this time.
type Summary = (Instant, &'static Metadata<'static>);

/// The thread that logs the summaries.
pub(super) struct Summaries {
    /// Closed when the thread ends.
    running: oneshot::Receiver<()>,
}

impl RateLimit {
    /// Starts the thread that logs the summaries. It is no async task, because summaries matter
    /// most when the runtime is overloaded.
    pub(super) fn start() -> (Self, Summaries) {
        let (suppressed, receiver) = mpsc::channel();
        let (alive, running) = oneshot::channel();
        let call_sites = Arc::new(Mutex::new(HashMap::new()));
        let limit = Self { call_sites: Arc::clone(&call_sites), suppressed };
        let thread = thread::Builder::new().name("log-sums".into());
        // If the thread cannot be started, `alive` is dropped, as it is when the thread ends.
        let _thread = thread.spawn(move || {
            let _alive: oneshot::Sender<()> = alive;
            log_summaries(&call_sites, &receiver);
        });
        (limit, Summaries { running })
    }
}

impl Summaries {
    /// Waits until the thread ends.
    pub(super) async fn ended(&mut self) {
        let _closed = (&mut self.running).await;
    }
}

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            return true;
        }
        let now = Instant::now();
        let decision = self.call_sites.lock().entry(metadata.callsite()).or_default().decide(now);
        if decision == Decision::SuppressFirst {
            let _no_thread = self.suppressed.send((now + WINDOW, metadata));
        }
        decision == Decision::Write
    }
}

fn log_summaries(call_sites: &Mutex<HashMap<Identifier, CallSite>>, suppressed: &mpsc::Receiver<Summary>) {
    let mut dropped = DroppedLines::default();
    loop {
        match suppressed.recv_timeout(WINDOW) {
            Ok((at, metadata)) => {
                // They come in the order of their times, so that none waits for more than its own window.
                thread::sleep(at.saturating_duration_since(Instant::now()));
                let left_out = call_sites
                    .lock()
                    .get_mut(&metadata.callsite())
                    .map(|call_site| std::mem::take(&mut call_site.suppressed));
                let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
                warn!(left_out, level = %metadata.level(), "suppressed repeated log lines of {file}:{line}");
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(dropped) = dropped.since_last(dropped_lines()) {
            warn!(dropped, "dropped log lines: standard error is read too slowly");
        }
    }
}

/// How many lines were dropped at the last look.
#[derive(Debug, Default)]
struct DroppedLines(u64);

impl DroppedLines {
    fn since_last(&mut self, total: u64) -> Option<u64> {
        let before = std::mem::replace(&mut self.0, total);
        (total > before).then(|| total - before)
    }
}

/// The recent lines of one place in the code.
#[derive(Default)]
struct CallSite {
    window_start: Option<Instant>,
    /// Lines written in this window.
    lines: u32,
    /// Lines suppressed since the last summary.
    suppressed: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Write,
    /// Suppress the line, and schedule a summary.
    SuppressFirst,
    Suppress,
}

impl CallSite {
    fn decide(&mut self, now: Instant) -> Decision {
        if self.window_start.is_none_or(|start| now.duration_since(start) >= WINDOW) {
            (self.window_start, self.lines) = (Some(now), 0);
        }
        if self.lines < MAX_LINES {
            self.lines += 1;
            return Decision::Write;
        }
        self.suppressed += 1;
        if self.suppressed == 1 { Decision::SuppressFirst } else { Decision::Suppress }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_a_limit_and_one_summary_is_scheduled() {
        let (mut call_site, start) = (CallSite::default(), Instant::now());
        let mut log = |lines: u32, after| {
            let decisions: Vec<_> = (0..lines).map(|_| call_site.decide(start + after)).collect();
            let count = |of| decisions.iter().filter(|decision| **decision == of).count();
            (count(Decision::Write), count(Decision::SuppressFirst), count(Decision::Suppress))
        };
        assert_eq!(log(20, Duration::ZERO), (20, 0, 0));
        assert_eq!(log(50, WINDOW / 2), (0, 1, 49));
        // The summary is not logged yet, so no second one is scheduled.
        assert_eq!(log(70, WINDOW), (20, 0, 50));
        call_site.suppressed = 0;
        assert_eq!(call_site.decide(start + WINDOW), Decision::SuppressFirst);
    }

    #[test]
    fn each_summary_is_due_after_its_own_window() {
        let call_site =
            tracing::callsite! { name: "event", kind: tracing::metadata::Kind::EVENT, fields: message };
        let metadata = tracing::Callsite::metadata(call_site);
        let call_sites = Mutex::new(HashMap::from([(metadata.callsite(), CallSite::default())]));
        let (suppressed, receiver) = mpsc::channel();
        let due = Instant::now() + Duration::from_millis(1);
        for _ in 0..1_000 {
            suppressed.send((due, metadata)).unwrap();
        }
        drop(suppressed);
        // Ends after the last summary. A window for each would take more than an hour.
        log_summaries(&call_sites, &receiver);
        assert!(due.elapsed() < WINDOW);
    }

    #[test]
    fn dropped_lines_are_reported_once() {
        let mut dropped = DroppedLines::default();
        let reports: Vec<_> = [0, 3, 3, 10].into_iter().map(|total| dropped.since_last(total)).collect();
        assert_eq!(reports, [None, Some(3), None, Some(7)]);
    }
}
