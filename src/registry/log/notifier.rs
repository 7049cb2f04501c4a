//! Wakes watchers: few of them directly, many of them in bounded rounds.

use std::time::Duration;

use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

/// Up to this number of watchers are woken by the writer itself, which is faster for
/// them and costs the writer about a microsecond. More are woken by a task.
pub(super) const FEW: usize = 8;
/// The pause between two rounds for each watcher: at most 100,000 watchers are woken
/// per second, and what changes meanwhile reaches them as one batch.
const PAUSE_PER_WATCHER: Duration = Duration::from_micros(10);
/// The shortest pause: the resolution of the timer.
const MIN_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause: 10,000 watchers and more are woken ten times a second.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Announces the revision up to which watchers may read.
#[derive(Debug)]
pub(super) struct Notifier {
    wakeup: Notify,
    announced: watch::Sender<u64>,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self { wakeup: Notify::new(), announced: watch::Sender::new(0) }
    }

    /// Sets the announced revision without waking a watcher.
    pub(super) fn begin_after(&self, revision: u64) {
        self.announced.send_replace(revision);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.announced.subscribe()
    }

    /// Called by a writer after it has published up to `head`.
    pub(super) fn published(&self, head: u64) {
        if self.announced.receiver_count() <= FEW {
            self.announce(head);
        } else {
            self.wakeup.notify_one();
        }
    }

    /// Wakes many watchers once for all changes since the last round. A writer then
    /// only wakes this task, which costs the same for any number of watchers. Runs
    /// until dropped.
    pub(super) async fn run(&self, head: impl Fn() -> u64) {
        loop {
            self.wakeup.notified().await;
            self.announce(head());
            let watchers = u32::try_from(self.announced.receiver_count()).unwrap_or(u32::MAX);
            let pause = PAUSE_PER_WATCHER.saturating_mul(watchers).min(MAX_PAUSE);
            if pause >= MIN_PAUSE {
                sleep(pause).await;
            }
        }
    }

    /// Never goes back: of two writers the one with the newer head may come first.
    fn announce(&self, head: u64) {
        self.announced.send_modify(|known| *known = head.max(*known));
    }
}
