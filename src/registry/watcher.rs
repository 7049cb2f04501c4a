//! A watcher: a cursor into the change log that says what to tell a reader.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Full, Registry,
    shared::Shared,
    step::{Next, Span, Step, Telling},
};
use crate::{alarm::Alarm, model::Filter, sync::atomic::Ordering::Relaxed};

/// Where a reader was: everything up to the revision is known to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub u64);

/// See the module's documentation. Holds no queue: what a slow reader has not
/// fetched is read from the log when it comes, newest state only.
#[derive(Debug)]
pub struct Watcher {
    registry: Registry,
    filter: Arc<Filter>,
    state: State,
    news: watch::Receiver<u64>,
    bookmark_after: Duration,
    alarm: Alarm,
    _permit: WatchPermit,
}

#[derive(Debug)]
enum State {
    /// Before a snapshot.
    Starting,
    /// There is something to tell, in parts.
    Telling(Telling),
    /// All is told up to a revision. `greet`: say so even if nothing changes.
    Following { after: u64, greet: bool },
}

impl Registry {
    /// Starts to watch, with a snapshot or where the reader was. A position
    /// that the log no longer reaches becomes a snapshot as well.
    pub fn watch(&self, filter: Filter, from: Option<Position>) -> Result<Watcher, Full> {
        let permit = self.permit_watch()?;
        let mut watcher = Watcher {
            registry: self.clone(),
            filter: Arc::new(filter),
            state: State::Starting,
            news: self.subscribe(),
            bookmark_after: jittered(self.shared.settings.bookmark_interval),
            alarm: Alarm::default(),
            _permit: permit,
        };
        watcher.state = match from {
            None => State::Telling(watcher.snapshot()),
            Some(Position(after)) => State::Following { after, greet: true },
        };
        Ok(watcher)
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
    pub async fn next(&mut self) -> Arc<Step> {
        let bookmark_at = Instant::now() + self.bookmark_after;
        loop {
            if let Some(step) = self.next_now() {
                return step;
            }
            tokio::select! {
                biased;
                // It fails only without the registry, which is held here.
                _changed = self.news.changed() => {}
                () = self.alarm.at(Some(bookmark_at)) => return self.bookmark(),
            }
        }
    }

    /// The next step if there is one now.
    pub fn next_now(&mut self) -> Option<Arc<Step>> {
        let until = *self.news.borrow_and_update();
        let shared = Arc::clone(&self.registry.shared);
        loop {
            match &mut self.state {
                State::Starting => self.state = State::Telling(self.snapshot()),
                State::Telling(telling) => {
                    let part = telling.part();
                    if let Some(after) = part.synced {
                        self.state = State::Following { after, greet: false };
                    }
                    return Some(Arc::new(part));
                }
                State::Following { after, greet } => {
                    let span = Span { filter: Arc::clone(&self.filter), after: *after, until };
                    match shared.steps.next(&shared.log, &span) {
                        Next::Nothing => return std::mem::take(greet).then(|| self.bookmark()),
                        Next::OutOfReach => self.state = State::Starting,
                        Next::Unseen { revision } => *after = revision,
                        Next::Step(step) => {
                            (*after, *greet) = (step.synced.unwrap_or(*after), false);
                            return Some(step);
                        }
                        Next::Parts(telling) => self.state = State::Telling(telling),
                    }
                }
            }
        }
    }

    fn snapshot(&self) -> Telling {
        let snapshot = self.registry.snapshot();
        let wanted = snapshot.workloads.iter().filter(|workload| self.filter.matches(workload));
        Telling::snapshot(wanted.cloned().collect(), snapshot.revision)
    }

    /// Says how far the reader is, so that it can resume there.
    fn bookmark(&self) -> Arc<Step> {
        let synced = match self.state {
            State::Following { after, .. } => Some(after),
            State::Starting | State::Telling(_) => None,
        };
        Arc::new(Step::bookmark(synced))
    }
}

/// A place among the watchers, given back when dropped.
#[derive(Debug)]
pub struct WatchPermit(Arc<Shared>);

impl Drop for WatchPermit {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Relaxed);
    }
}
