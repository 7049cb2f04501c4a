//! A watcher: a cursor into the change log that says what to tell a reader.

use std::{collections::BTreeMap, sync::Arc, time::Duration, vec};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{Full, Registry, shared::Shared};
use crate::{
    changelog::Change,
    model::{Filter, MeshName, Workload, WorkloadKey},
    sync::atomic::Ordering::Relaxed,
};

/// Changes that are conflated at a time.
const BATCH: usize = 2_048;
/// Workloads in one step at most. A stream's buffer stays as large as its
/// largest message: 64 Workloads are 16 KiB with usual names, 64 KiB with the
/// longest.
const STEP_SIZE: usize = 64;

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
    /// There is something to tell, in parts.
    Telling(Telling),
    /// All is told up to a revision. `greet`: say so even if nothing changes.
    Following { after: u64, greet: bool },
}

/// A snapshot, or what a batch of changes comes to. What has not been told yet
/// is the one thing a watcher keeps for itself: a pointer for each Workload, in
/// one allocation that only shrinks.
#[derive(Debug)]
struct Telling {
    reset: bool,
    upserted: vec::IntoIter<Arc<Workload>>,
    removed: vec::IntoIter<(WorkloadKey, MeshName)>,
    revision: u64,
    oldest: Option<Instant>,
}

impl Telling {
    fn is_empty(&self) -> bool {
        self.upserted.len() == 0 && self.removed.len() == 0
    }

    /// The next part; the last one says that it is the last.
    fn part(&mut self) -> Step {
        let removed: Vec<_> = self.removed.by_ref().take(STEP_SIZE).collect();
        let upserted: Vec<_> = self.upserted.by_ref().take(STEP_SIZE - removed.len()).collect();
        let synced = self.is_empty().then_some(self.revision);
        Step { reset: std::mem::take(&mut self.reset), upserted, removed, synced, oldest: self.oldest }
    }
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
        let bookmark_at = Instant::now() + self.bookmark_after;
        loop {
            self.news.borrow_and_update();
            if let Some(step) = self.next_now() {
                return step;
            }
            if timeout_at(bookmark_at, self.news.changed()).await.is_err() {
                return self.bookmark();
            }
        }
    }

    /// The next step if there is one now.
    pub fn next_now(&mut self) -> Option<Step> {
        loop {
            match &mut self.state {
                State::Starting => self.state = State::Telling(self.snapshot()),
                State::Telling(telling) => {
                    let part = telling.part();
                    if let Some(after) = part.synced {
                        self.state = State::Following { after, greet: false };
                    }
                    return Some(part);
                }
                State::Following { after, greet } => {
                    let Some(changes) = self.registry.shared.log.read_after(*after, BATCH) else {
                        self.state = State::Starting;
                        continue;
                    };
                    let Some(last) = changes.last() else {
                        let greet = std::mem::take(greet);
                        return greet.then(|| self.bookmark());
                    };
                    let telling = conflate(&self.filter, &changes, last.revision);
                    if telling.is_empty() {
                        *after = last.revision;
                    } else {
                        self.state = State::Telling(telling);
                    }
                }
            }
        }
    }

    fn snapshot(&self) -> Telling {
        let snapshot = self.registry.snapshot();
        let wanted = snapshot.workloads.into_values().filter(|workload| self.filter.matches(workload));
        let upserted = wanted.collect::<Vec<_>>().into_iter();
        let removed = Vec::new().into_iter();
        Telling { reset: true, upserted, removed, revision: snapshot.revision, oldest: None }
    }

    /// Says how far the reader is, so that it can resume there.
    fn bookmark(&self) -> Step {
        let synced = match self.state {
            State::Following { after, .. } => Some(after),
            State::Starting | State::Telling(_) => None,
        };
        Step { synced, ..Step::default() }
    }
}

/// Keeps the state before the first and after the last change of each Workload,
/// and says what the difference is to a reader with this filter.
fn conflate(filter: &Filter, changes: &[Change], revision: u64) -> Telling {
    let mut spans: BTreeMap<&WorkloadKey, (&Change, &Change)> = BTreeMap::new();
    for change in changes {
        spans.entry(change.key()).and_modify(|(_, last)| *last = change).or_insert((change, change));
    }
    let (mut upserted, mut removed, mut oldest) = (Vec::new(), Vec::new(), None::<Instant>);
    for (first, last) in spans.into_values() {
        let matching =
            |state: &Option<Arc<Workload>>| state.clone().filter(|workload| filter.matches(workload));
        match (matching(&first.old), matching(&last.new)) {
            (_, Some(new)) => upserted.push(new),
            (Some(old), None) => removed.push((old.key().clone(), old.identity.mesh.clone())),
            (None, None) => continue,
        }
        oldest = Some(oldest.map_or(first.at, |at| at.min(first.at)));
    }
    Telling { reset: false, upserted: upserted.into_iter(), removed: removed.into_iter(), revision, oldest }
}

/// A place among the watchers, given back when dropped.
#[derive(Debug)]
pub struct WatchPermit(Arc<Shared>);

impl Drop for WatchPermit {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Relaxed);
    }
}
