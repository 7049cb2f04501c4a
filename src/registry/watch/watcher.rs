//! A watcher: a cursor into the change log.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    batch::{DeltaBatch, PendingDeltas},
    cache::{LogRange, RangeResult},
    conflate::Conflation,
    filters::FilterLease,
    source::Source,
};
use crate::{
    model::{ExactName, Filter, WorkloadKey},
    registry::{Accounts, LimitReached, Registry, Snapshot, shared::Shared},
    runtime::{blocking::run_blocking, resettable_timer::ResettableTimer},
};

/// The revision up to which a reader has received all changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub u64);

/// Delivers the deltas for one reader. It has no queue: when a slow reader fetches the
/// next batch, all changes since its position are read from the log and conflated.
#[derive(Debug)]
pub struct Watcher {
    registry: Registry,
    filter: FilterLease,
    conflation: Conflation,
    state: State,
    source: Source,
    bookmark_after: Duration,
    bookmark_timer: ResettableTimer,
    _permit: WatchPermit,
}

#[derive(Debug)]
enum State {
    /// Deltas of a snapshot or of a long range of the log remain to be delivered.
    Delivering(PendingDeltas),
    /// Everything is delivered up to `after`. With `confirm`, a bookmark is sent even if
    /// nothing has changed, to confirm the position to a reader that resumed.
    Following { after: u64, confirm: bool },
}

/// What one read of the log found.
enum Found {
    Batch(Arc<DeltaBatch>),
    Nothing,
    /// The log no longer reaches the reader's position: it needs a snapshot.
    OutOfReach,
}

impl State {
    fn snapshot(snapshot: &Snapshot, filter: &Filter) -> Self {
        let matching = snapshot.workloads.iter().filter(|workload| filter.matches(workload));
        Self::Delivering(PendingDeltas::snapshot(matching.cloned().collect(), snapshot.revision))
    }
}

impl Registry {
    /// Starts a watch within this process, which is charged to no client; see
    /// [`Registry::watch_for`].
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`].
    pub fn watch(&self, filter: Filter, from: Option<Position>) -> Result<Watcher, LimitReached> {
        self.watch_for(&Accounts::default(), filter, from)
    }

    /// Starts a watch of a client with a snapshot, or at the reader's position. If the log no
    /// longer reaches the position, the watch starts with a snapshot as well.
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`] or [`LimitReached::Client`].
    pub fn watch_for(
        &self,
        client: &Accounts,
        filter: Filter,
        from: Option<Position>,
    ) -> Result<Watcher, LimitReached> {
        let begin = |filter: &Filter| match from {
            None => self.initial_state(filter),
            Some(Position(after)) => State::Following { after, confirm: true },
        };
        self.watcher(client, filter, Conflation::PerWorkload, begin)
    }

    /// Starts a watch at a position for a reader that may resume after any single delta,
    /// as clients of the Kubernetes API do: every creation and every deletion has a delta
    /// at its own revision.
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`] or [`LimitReached::Client`].
    pub fn watch_lifetimes(
        &self,
        client: &Accounts,
        filter: Filter,
        from: Position,
    ) -> Result<Watcher, LimitReached> {
        let begin = |_: &Filter| State::Following { after: from.0, confirm: true };
        self.watcher(client, filter, Conflation::PerLifetime, begin)
    }

    fn watcher(
        &self,
        client: &Accounts,
        filter: Filter,
        conflation: Conflation,
        begin: impl FnOnce(&Filter) -> State,
    ) -> Result<Watcher, LimitReached> {
        let permit = self.permit_watch(client)?;
        let source = Source::subscribe(&self.shared, &filter);
        let state = begin(&filter);
        Ok(Watcher {
            registry: self.clone(),
            filter: FilterLease::new(&self.shared, filter),
            conflation,
            state,
            source,
            bookmark_after: jittered(self.shared.settings.bookmark_interval),
            bookmark_timer: ResettableTimer::default(),
            _permit: permit,
        })
    }

    /// A snapshot of the Workloads that match. A single one needs no snapshot of all.
    fn initial_state(&self, filter: &Filter) -> State {
        let Some(ExactName { name, namespace: Some(namespace) }) = filter.exact_name() else {
            return State::snapshot(&self.snapshot(), filter);
        };
        let (workload, revision) = self.get(&WorkloadKey { namespace, name });
        let matching = workload.into_iter().filter(|workload| filter.matches(workload)).collect();
        State::Delivering(PendingDeltas::snapshot(matching, revision))
    }

    /// Counts a new watch stream of a client, of Workloads or of events, against the limits.
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`] or [`LimitReached::Client`].
    pub fn permit_watch(&self, client: &Accounts) -> Result<WatchPermit, LimitReached> {
        self.shared.capacity.begin_watch(client)?;
        Ok(WatchPermit { shared: Arc::clone(&self.shared), client: client.clone() })
    }

    /// The number of open watch streams.
    pub fn watchers(&self) -> usize {
        self.shared.capacity.watchers()
    }
}

/// The interval plus or minus up to a tenth, so that readers that connected together do
/// not always get their bookmarks together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

impl Watcher {
    /// Makes a bookmark due after `interval` without a batch, if that is sooner than the
    /// setting, for a reader that detects a failure by missing bookmarks.
    #[must_use]
    pub fn with_bookmarks_within(self, interval: Duration) -> Self {
        Self { bookmark_after: self.bookmark_after.min(interval), ..self }
    }

    /// Waits for the next batch, at most until a bookmark is due. If the log no longer
    /// reaches the reader's position, the batch is a snapshot.
    pub async fn next(&mut self) -> Arc<DeltaBatch> {
        loop {
            match self.next_without_snapshot().await {
                Some(batch) => return batch,
                None => self.start_over(),
            }
        }
    }

    /// Like [`Watcher::next`], for a protocol that can't send a snapshot within a watch:
    /// none if the log no longer reaches the reader's position.
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
                () = self.source.changed() => {}
                () = self.bookmark_timer.sleep_until(Some(bookmark_at)) => {
                    self.confirm();
                }
            }
        }
    }

    /// Makes the next read return a bookmark if nothing has changed.
    fn confirm(&mut self) {
        if let State::Following { confirm, .. } = &mut self.state {
            *confirm = true;
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
        self.source.mark_seen();
        loop {
            let (after, confirm) = match &mut self.state {
                State::Following { after, confirm } => (*after, *confirm),
                State::Delivering(pending) => {
                    let batch = pending.next_batch();
                    if let Some(after) = batch.synced {
                        self.state = State::Following { after, confirm: false };
                    }
                    return Found::Batch(Arc::new(batch));
                }
            };
            match self.read_after(after) {
                RangeResult::OutOfReach => return Found::OutOfReach,
                RangeResult::NoMatch { revision } => {
                    self.state = State::Following { after: revision, confirm };
                }
                RangeResult::Empty { revision } => {
                    self.state = State::Following { after: revision, confirm: false };
                    return if confirm { Found::Batch(self.bookmark()) } else { Found::Nothing };
                }
                RangeResult::Batch(batch) => {
                    let after = batch.synced.unwrap_or(after);
                    self.state = State::Following { after, confirm: false };
                    return Found::Batch(batch);
                }
                RangeResult::First(batch, rest) => {
                    self.state = State::Delivering(rest);
                    return Found::Batch(batch);
                }
            }
        }
    }

    fn read_after(&self, after: u64) -> RangeResult {
        let (conflation, filter, shared) = (self.conflation, &self.filter, &self.registry.shared);
        match &self.source {
            Source::All { until, .. } => {
                shared.batches.read(&shared.log, filter, LogRange { after, until: *until, conflation })
            }
            Source::Name(subscription) => {
                shared.batches.read_name(&shared.log, &subscription.name, filter, conflation, after)
            }
        }
    }

    /// Starts over with a snapshot. A cached one is used if the log reaches it and it is
    /// newer than the reader's position, so that few snapshots are made for a thousand
    /// readers that have fallen behind.
    fn start_over(&mut self) {
        let State::Following { after, .. } = self.state else { return };
        let shared = &self.registry.shared;
        let usable = |revision| revision > after && shared.log.reaches(revision);
        let filter = self.filter.filter();
        let cached = shared.snapshots.find(|snapshot| usable(snapshot.revision));
        self.state = run_blocking(|| match cached {
            Some(snapshot) => State::snapshot(&snapshot, filter),
            None => self.registry.initial_state(filter),
        });
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

/// One open watch stream, counted against the limits until this is dropped.
#[derive(Debug)]
pub struct WatchPermit {
    shared: Arc<Shared>,
    client: Accounts,
}

impl Drop for WatchPermit {
    fn drop(&mut self) {
        self.shared.capacity.end_watch(&self.client);
    }
}
