//! A watcher: a cursor into the change log that says what to tell a reader.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Full, Registry,
    shared::Shared,
    step::{Conflation, Next, Span, Step, Telling},
    view::Snapshot,
};
use crate::{
    model::Filter, runtime::resettable_timer::ResettableTimer, runtime::sync::atomic::Ordering::Relaxed,
};

/// Where a reader was: everything up to the revision is known to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub u64);

/// See the module's documentation. Holds no queue: what a slow reader has not
/// fetched is read from the log when it comes, newest state only.
#[derive(Debug)]
pub struct Watcher {
    registry: Registry,
    filter: Arc<Filter>,
    conflation: Conflation,
    state: State,
    news: watch::Receiver<u64>,
    bookmark_after: Duration,
    timer: ResettableTimer,
    _permit: WatchPermit,
}

#[derive(Debug)]
enum State {
    /// There is something to tell, in parts.
    Telling(Telling),
    /// All is told up to a revision. `greet`: say so even if nothing changes.
    Following { after: u64, greet: bool },
}

/// What a look at the log brings.
enum Found {
    Step(Arc<Step>),
    Nothing,
    /// Only a snapshot helps.
    OutOfReach,
}

impl State {
    fn telling(snapshot: &Snapshot, filter: &Filter) -> Self {
        let wanted = snapshot.workloads.iter().filter(|workload| filter.matches(workload));
        Self::Telling(Telling::snapshot(wanted.cloned().collect(), snapshot.revision))
    }
}

impl Registry {
    /// Starts to watch, with a snapshot or where the reader was. A position
    /// that the log no longer reaches becomes a snapshot as well.
    pub fn watch(&self, filter: Filter, from: Option<Position>) -> Result<Watcher, Full> {
        let begin = || match from {
            None => State::telling(&self.snapshot(), &filter),
            Some(Position(after)) => State::Following { after, greet: true },
        };
        self.watcher(&filter, Conflation::Batch, begin)
    }

    /// Starts to watch after a position, for a reader that may resume after any single
    /// entry of a step, as clients of the Kubernetes API do: a step has an entry for
    /// each creation and each deletion.
    pub fn watch_lifetimes(&self, filter: &Filter, Position(after): Position) -> Result<Watcher, Full> {
        self.watcher(filter, Conflation::Lifetimes, || State::Following { after, greet: true })
    }

    fn watcher(
        &self,
        filter: &Filter,
        conflation: Conflation,
        begin: impl FnOnce() -> State,
    ) -> Result<Watcher, Full> {
        let permit = self.permit_watch()?;
        let news = self.subscribe();
        let state = begin();
        Ok(Watcher {
            registry: self.clone(),
            filter: Arc::new(filter.clone()),
            conflation,
            state,
            news,
            bookmark_after: jittered(self.shared.settings.bookmark_interval),
            timer: ResettableTimer::default(),
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
    pub async fn next(&mut self) -> Arc<Step> {
        loop {
            match self.follow().await {
                Some(step) => return step,
                None => self.start_over(),
            }
        }
    }

    /// The next step of who has no use for a snapshot: none, where it would be one.
    pub async fn follow(&mut self) -> Option<Arc<Step>> {
        let bookmark_at = Instant::now() + self.bookmark_after;
        loop {
            match self.look() {
                Found::Step(step) => return Some(step),
                Found::OutOfReach => return None,
                Found::Nothing => {}
            }
            tokio::select! {
                biased;
                // It fails only without the registry, which is held here.
                _changed = self.news.changed() => {}
                () = self.timer.sleep_until(Some(bookmark_at)) => return Some(self.bookmark()),
            }
        }
    }

    /// The next step if there is one now.
    pub fn next_now(&mut self) -> Option<Arc<Step>> {
        loop {
            match self.look() {
                Found::Step(step) => return Some(step),
                Found::Nothing => return None,
                Found::OutOfReach => self.start_over(),
            }
        }
    }

    fn look(&mut self) -> Found {
        let until = *self.news.borrow_and_update();
        let shared = Arc::clone(&self.registry.shared);
        loop {
            match &mut self.state {
                State::Telling(telling) => {
                    let part = telling.part();
                    if let Some(after) = part.synced {
                        self.state = State::Following { after, greet: false };
                    }
                    return Found::Step(Arc::new(part));
                }
                State::Following { after, greet } => {
                    let span = Span {
                        filter: Arc::clone(&self.filter),
                        conflation: self.conflation,
                        after: *after,
                        until,
                    };
                    match shared.steps.next(&shared.log, &span) {
                        Next::Nothing if std::mem::take(greet) => return Found::Step(self.bookmark()),
                        Next::Nothing => return Found::Nothing,
                        Next::OutOfReach => return Found::OutOfReach,
                        Next::Unseen { revision } => *after = revision,
                        Next::Step(step) => {
                            (*after, *greet) = (step.synced.unwrap_or(*after), false);
                            return Found::Step(step);
                        }
                        Next::Parts(telling) => self.state = State::Telling(telling),
                    }
                }
            }
        }
    }

    /// Begins anew with a snapshot. Any will do that the log reaches and that is not
    /// older than what the reader knows: of a thousand who have fallen behind, few
    /// have to make one.
    fn start_over(&mut self) {
        let State::Following { after, .. } = self.state else { return };
        let shared = &self.registry.shared;
        let in_reach = |revision| revision > after && shared.log.look_back(revision).is_some();
        let kept = shared.snapshots.find(|kept| in_reach(kept.revision));
        self.state = State::telling(&kept.unwrap_or_else(|| self.registry.snapshot()), &self.filter);
    }

    /// Says how far the reader is, so that it can resume there.
    fn bookmark(&self) -> Arc<Step> {
        let synced = match self.state {
            State::Following { after, .. } => Some(after),
            State::Telling(_) => None,
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

#[cfg(test)]
mod tests {
    use super::{
        super::{RegistrySettings, tests::join},
        *,
    };

    #[test]
    fn those_who_have_fallen_behind_share_a_snapshot_while_the_log_reaches_it() {
        let registry = Registry::new(RegistrySettings { log_capacity: 4, ..RegistrySettings::default() });
        let mut watchers = [(); 3].map(|()| registry.watch(Filter::default(), None).unwrap());
        for watcher in &mut watchers {
            assert_eq!(watcher.next_now().unwrap().synced, Some(0));
        }
        let mut sessions: Vec<_> = (0..6).map(|n| join(&registry, &format!("{n}"), "web")).collect();
        let [first, second, third] = &mut watchers;
        let anew = |watcher: &mut Watcher| {
            let step = watcher.next_now().unwrap();
            assert!(step.reset);
            step.synced
        };
        assert_eq!(anew(first), Some(6));
        sessions.push(join(&registry, "7", "web"));
        assert_eq!(anew(second), Some(6), "that of the first");
        sessions.extend((8..13).map(|n| join(&registry, &format!("{n}"), "web")));
        assert_eq!(anew(third), Some(12), "the log reaches back to 8 only");
    }
}
