//! A watcher: a cursor into the change log that says what to tell a reader.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
    vec,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{Full, Registry, shared::Shared};
use crate::{
    changelog::Change,
    model::{Filter, MeshName, Workload, WorkloadKey},
};

/// Workloads in one step at most, so that a message stays far below the 4 MiB
/// that gRPC clients take by default: 2,048 Workloads with names of usual
/// length are 0.5 MB, with the longest names 3 MB.
const STEP_SIZE: usize = 2_048;

/// Where a reader was: everything up to the revision is known to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub u64);

/// What to tell the reader next.
#[derive(Debug, Default)]
pub struct Step {
    /// Forget what was told before.
    pub reset: bool,
    /// New, changed, or come to match.
    pub upserted: Vec<Arc<Workload>>,
    /// Gone, or no longer matching; with the mesh the reader knew.
    pub removed: Vec<(WorkloadKey, MeshName)>,
    /// The reader now knows everything up to this revision.
    pub synced: Option<u64>,
    /// When the oldest change in it was stamped.
    pub oldest: Option<Instant>,
}

/// See the module's documentation. Holds no queue: what a slow reader has not
/// fetched is read from the log when it comes, newest state only.
#[derive(Debug)]
pub struct Watcher {
    registry: Registry,
    filter: Filter,
    state: State,
    news: watch::Receiver<u64>,
    bookmark_after: Duration,
    _permit: WatchPermit,
}

#[derive(Debug)]
enum State {
    /// Before the snapshot.
    Starting,
    /// In it. What has not been told yet is the one thing a watcher keeps for
    /// itself: a pointer per Workload, in one allocation that only shrinks.
    Listing { rest: vec::IntoIter<Arc<Workload>>, revision: u64, reset: bool },
    /// Behind it. `greet`: say where we are even if nothing has changed.
    Following { after: u64, greet: bool },
}

impl Registry {
    /// Starts to watch, with a snapshot or where the reader was. A position
    /// that the log no longer reaches becomes a snapshot as well.
    pub fn watch(&self, filter: Filter, from: Option<Position>) -> Result<Watcher, Full> {
        let permit = self.permit_watch()?;
        let state = match from {
            None => State::Starting,
            Some(Position(after)) => State::Following { after, greet: true },
        };
        Ok(Watcher {
            registry: self.clone(),
            filter,
            state,
            news: self.subscribe(),
            bookmark_after: jittered(self.shared.settings.bookmark_interval),
            _permit: permit,
        })
    }

    /// Takes one of the places for watchers, of whatever they watch.
    pub fn permit_watch(&self) -> Result<WatchPermit, Full> {
        let limit = self.shared.settings.max_watchers;
        let permit = WatchPermit(Arc::clone(&self.shared));
        if self.shared.watchers.fetch_add(1, Relaxed) < limit {
            Ok(permit)
        } else {
            Err(Full::Watchers { limit })
        }
    }

    /// Watchers there are.
    pub fn watchers(&self) -> usize {
        self.shared.watchers.load(Relaxed)
    }
}

/// Readers that came together, after a restart say, should not be told to be
/// up to date together for ever: plus or minus a tenth.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

impl Watcher {
    /// The next step; waits for one, at most until a bookmark is due.
    pub async fn next(&mut self) -> Step {
        loop {
            self.news.borrow_and_update();
            if let Some(step) = self.next_now() {
                return step;
            }
            if timeout(self.bookmark_after, self.news.changed()).await.is_err() {
                return self.bookmark();
            }
        }
    }

    /// The next step if there is one now.
    pub fn next_now(&mut self) -> Option<Step> {
        loop {
            match &mut self.state {
                State::Starting => self.state = self.list(),
                State::Listing { rest, revision, reset } => {
                    let upserted: Vec<_> = rest.by_ref().take(STEP_SIZE).collect();
                    let (revision, reset) = (*revision, std::mem::take(reset));
                    let last = rest.len() == 0;
                    if last {
                        self.state = State::Following { after: revision, greet: false };
                    }
                    return Some(Step {
                        reset,
                        upserted,
                        synced: last.then_some(revision),
                        ..Step::default()
                    });
                }
                State::Following { after, greet } => {
                    let Some(changes) = self.registry.shared.log.read_after(*after, STEP_SIZE) else {
                        self.state = State::Starting;
                        continue;
                    };
                    let Some(last) = changes.last() else {
                        let greet = std::mem::take(greet);
                        return greet.then(|| self.bookmark());
                    };
                    *after = last.revision;
                    let step = conflate(&self.filter, &changes);
                    if !step.upserted.is_empty() || !step.removed.is_empty() {
                        *greet = false;
                        return Some(step);
                    }
                }
            }
        }
    }

    fn list(&self) -> State {
        let snapshot = self.registry.snapshot();
        let wanted = snapshot.workloads.into_values().filter(|workload| self.filter.matches(workload));
        let rest = wanted.collect::<Vec<_>>().into_iter();
        State::Listing { rest, revision: snapshot.revision, reset: true }
    }

    /// Says how far the reader is, so that it can resume there.
    fn bookmark(&self) -> Step {
        let synced = match self.state {
            State::Following { after, .. } => Some(after),
            State::Starting | State::Listing { .. } => None,
        };
        Step { synced, ..Step::default() }
    }
}

/// Keeps the state before the first and after the last change of each Workload,
/// and says what the difference is to a reader with this filter.
fn conflate(filter: &Filter, changes: &[Change]) -> Step {
    let mut spans: BTreeMap<&WorkloadKey, (&Change, &Change)> = BTreeMap::new();
    for change in changes {
        spans.entry(change.key()).and_modify(|(_, last)| *last = change).or_insert((change, change));
    }
    let mut step = Step { synced: changes.last().map(|change| change.revision), ..Step::default() };
    for (first, last) in spans.into_values() {
        let matching =
            |state: &Option<Arc<Workload>>| state.clone().filter(|workload| filter.matches(workload));
        match (matching(&first.old), matching(&last.new)) {
            (_, Some(new)) => step.upserted.push(new),
            (Some(old), None) => step.removed.push((old.key().clone(), old.identity.mesh.clone())),
            (None, None) => continue,
        }
        step.oldest = Some(step.oldest.map_or(first.at, |at| at.min(first.at)));
    }
    step
}

/// A place among the watchers, given back when dropped.
#[derive(Debug)]
pub struct WatchPermit(Arc<Shared>);

impl Drop for WatchPermit {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Relaxed);
    }
}
