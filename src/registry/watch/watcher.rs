//! A watcher: a cursor into the change log.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    batch::{DeltaBatch, PendingDeltas},
    cache::{LogRange, RangeResult},
    conflate::Conflation,
};
use crate::{
    model::Filter,
    registry::{LimitReached, Registry, Snapshot, shared::Shared},
    runtime::{resettable_timer::ResettableTimer, sync::atomic::Ordering::Relaxed},
};

/// The revision up to which a reader is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub u64);

/// Delivers the deltas for one reader. It has no queue: what a slow reader has not
/// fetched is read from the log when it asks, with the latest states only.
#[derive(Debug)]
pub struct Watcher {
    registry: Registry,
    filter: Arc<Filter>,
    conflation: Conflation,
    state: State,
    announced: watch::Receiver<u64>,
    bookmark_after: Duration,
    bookmark_timer: ResettableTimer,
    _permit: WatchPermit,
}

#[derive(Debug)]
enum State {
    /// Deltas are left to be delivered.
    Delivering(PendingDeltas),
    /// Everything is delivered up to `after`. With `confirm`, a bookmark is sent even if
    /// nothing has changed, to confirm the position to a reader that resumed.
    Following { after: u64, confirm: bool },
}

/// What one read of the log found.
enum Found {
    Batch(Arc<DeltaBatch>),
    Nothing,
    /// Only a snapshot helps.
    OutOfReach,
}

impl State {
    fn snapshot(snapshot: &Snapshot, filter: &Filter) -> Self {
        let matching = snapshot.workloads.iter().filter(|workload| filter.matches(workload));
        Self::Delivering(PendingDeltas::snapshot(matching.cloned().collect(), snapshot.revision))
    }
}

impl Registry {
    /// Starts a watch with a snapshot, or at the reader's position. If the log no longer
    /// reaches the position, the watch starts with a snapshot as well.
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`].
    pub fn watch(&self, filter: Filter, from: Option<Position>) -> Result<Watcher, LimitReached> {
        let begin = |filter: &Filter| match from {
            None => State::snapshot(&self.snapshot(), filter),
            Some(Position(after)) => State::Following { after, confirm: true },
        };
        self.watcher(filter, Conflation::PerWorkload, begin)
    }

    /// Starts a watch at a position for a reader that may resume after any single delta,
    /// as clients of the Kubernetes API do: every creation and every deletion has a delta
    /// at its own revision.
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`].
    pub fn watch_lifetimes(&self, filter: Filter, from: Position) -> Result<Watcher, LimitReached> {
        self.watcher(filter, Conflation::PerLifetime, |_| State::Following { after: from.0, confirm: true })
    }

    fn watcher(
        &self,
        filter: Filter,
        conflation: Conflation,
        begin: impl FnOnce(&Filter) -> State,
    ) -> Result<Watcher, LimitReached> {
        let permit = self.permit_watch()?;
        let announced = self.subscribe();
        let state = begin(&filter);
        Ok(Watcher {
            registry: self.clone(),
            filter: Arc::new(filter),
            conflation,
            state,
            announced,
            bookmark_after: jittered(self.shared.settings.bookmark_interval),
            bookmark_timer: ResettableTimer::default(),
            _permit: permit,
        })
    }

    /// Takes one of the places for watch streams, of Workloads or events.
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`].
    pub fn permit_watch(&self) -> Result<WatchPermit, LimitReached> {
        let limit = self.shared.settings.max_watchers;
        let permit = WatchPermit(Arc::clone(&self.shared));
        if self.shared.watchers.fetch_add(1, Relaxed) < limit {
            Ok(permit)
        } else {
            Err(LimitReached::Watchers { limit })
        }
    }

    /// The number of open watch streams.
    pub fn watchers(&self) -> usize {
        self.shared.watchers.load(Relaxed)
    }
}

/// Plus or minus a tenth, so that readers that connected together do not get their
/// bookmarks together forever.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

impl Watcher {
    /// Waits for the next batch, at most until a bookmark is due. A reader that has
    /// fallen out of the log gets a snapshot.
    pub async fn next(&mut self) -> Arc<DeltaBatch> {
        loop {
            match self.next_without_snapshot().await {
                Some(batch) => return batch,
                None => self.start_over(),
            }
        }
    }

    /// Like [`Watcher::next`], for a reader that can't be sent a snapshot: none if the
    /// reader has fallen out of the log.
    pub async fn next_without_snapshot(&mut self) -> Option<Arc<DeltaBatch>> {
        let bookmark_at = Instant::now() + self.bookmark_after;
        loop {
            match self.read_log() {
                Found::Batch(batch) => return Some(batch),
                Found::OutOfReach => return None,
                Found::Nothing => {}
            }
            tokio::select! {
                biased;
                // Fails only after the registry is dropped, which `self` holds.
                _changed = self.announced.changed() => {}
                () = self.bookmark_timer.sleep_until(Some(bookmark_at)) => return Some(self.bookmark()),
            }
        }
    }

    /// The next batch if there is one now.
    pub fn next_now(&mut self) -> Option<Arc<DeltaBatch>> {
        loop {
            match self.read_log() {
                Found::Batch(batch) => return Some(batch),
                Found::Nothing => return None,
                Found::OutOfReach => self.start_over(),
            }
        }
    }

    fn read_log(&mut self) -> Found {
        let until = *self.announced.borrow_and_update();
        let shared = Arc::clone(&self.registry.shared);
        loop {
            match &mut self.state {
                State::Delivering(pending) => {
                    let batch = pending.next_batch();
                    if let Some(after) = batch.synced {
                        self.state = State::Following { after, confirm: false };
                    }
                    return Found::Batch(Arc::new(batch));
                }
                State::Following { after, confirm } => {
                    let (filter, conflation) = (Arc::clone(&self.filter), self.conflation);
                    let range = LogRange { filter, conflation, after: *after, until };
                    match shared.batches.read(&shared.log, &range) {
                        RangeResult::Empty if std::mem::take(confirm) => {
                            return Found::Batch(self.bookmark());
                        }
                        RangeResult::Empty => return Found::Nothing,
                        RangeResult::OutOfReach => return Found::OutOfReach,
                        RangeResult::NoMatch { revision } => *after = revision,
                        RangeResult::Batch(batch) => {
                            (*after, *confirm) = (batch.synced.unwrap_or(*after), false);
                            return Found::Batch(batch);
                        }
                        RangeResult::Pending(pending) => self.state = State::Delivering(pending),
                    }
                }
            }
        }
    }

    /// Starts over with a snapshot. A cached one will do if the log reaches it and it is
    /// newer than the reader's position, so a thousand readers that have fallen behind
    /// need few snapshots.
    fn start_over(&mut self) {
        let State::Following { after, .. } = self.state else { return };
        let shared = &self.registry.shared;
        let usable = |revision| revision > after && shared.log.reaches(revision);
        let cached = shared.snapshots.find(|snapshot| usable(snapshot.revision));
        self.state = State::snapshot(&cached.unwrap_or_else(|| self.registry.snapshot()), &self.filter);
    }

    /// A batch without deltas that states the reader's position.
    fn bookmark(&self) -> Arc<DeltaBatch> {
        let synced = match self.state {
            State::Following { after, .. } => Some(after),
            State::Delivering(_) => None,
        };
        Arc::new(DeltaBatch::bookmark(synced))
    }
}

/// One of the places for watch streams. Dropping it gives the place back.
#[derive(Debug)]
pub struct WatchPermit(Arc<Shared>);

impl Drop for WatchPermit {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Relaxed);
    }
}
