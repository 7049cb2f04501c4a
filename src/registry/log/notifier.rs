//! Wakes watchers: few of them directly, many of them in bounded rounds.

use std::{mem, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use crate::runtime::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
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
    /// Signals that the task sends in its next round, each of them once.
    queue: Mutex<Vec<Arc<Signal>>>,
}

/// Wakes the watchers of one name.
#[derive(Debug)]
pub(super) struct Signal {
    changed: watch::Sender<()>,
    queued: AtomicBool,
}

impl Signal {
    pub(super) fn new() -> Self {
        Self { changed: watch::Sender::new(()), queued: AtomicBool::new(false) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes the watchers; returns their number.
    fn send(&self) -> usize {
        self.changed.send_replace(());
        self.changed.receiver_count()
    }
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self { wakeup: Notify::new(), announced: watch::Sender::new(0), queue: Mutex::default() }
    }

    /// Sets the announced revision without waking a watcher.
    pub(super) fn begin_after(&self, revision: u64) {
        self.announced.send_replace(revision);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.announced.subscribe()
    }

    /// Called by a writer after it has published up to `head`, with the signals of the
    /// names that have changed.
    pub(super) fn published(&self, head: u64, signals: impl IntoIterator<Item = Arc<Signal>>) {
        for signal in signals {
            if signal.changed.receiver_count() <= FEW {
                signal.send();
            } else if !signal.queued.swap(true, Relaxed) {
                self.queue.lock().push(signal);
                self.wakeup.notify_one();
            }
        }
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
            let woken = self.announce(head()) + self.send_queued();
            let woken = u32::try_from(woken).unwrap_or(u32::MAX);
            let pause = PAUSE_PER_WATCHER.saturating_mul(woken).min(MAX_PAUSE);
            if pause >= MIN_PAUSE {
                sleep(pause).await;
            }
        }
    }

    /// Returns the number of watchers that it wakes. Never goes back: of two writers the
    /// one with the newer head may come first.
    fn announce(&self, head: u64) -> usize {
        let newer = |known: &mut u64| {
            let newer = head > *known;
            *known = head.max(*known);
            newer
        };
        if self.announced.send_if_modified(newer) { self.announced.receiver_count() } else { 0 }
    }

    fn send_queued(&self) -> usize {
        let queued = mem::take(&mut *self.queue.lock());
        let send = |signal: Arc<Signal>| {
            // Before the signal, so that a later change queues it again.
            signal.queued.store(false, Relaxed);
            signal.send()
        };
        queued.into_iter().map(send).sum()
    }
}
