//! A watcher: a cursor into the change log that says what to tell a reader.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    Full, Registry,
    shared::Shared,
    step::{Next, Span, Step, Telling},
    view::Snapshot,
};
use crate::{alarm::Alarm, apart::apart, model::Filter, sync::atomic::Ordering::Relaxed};

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

/// What a look at the log brings.
enum Found {
    Step(Arc<Step>),
    Nothing,
    /// Only a snapshot helps.
    OutOfReach,
}

impl Registry {
    /// Starts to watch, with a snapshot or where the reader was. A position
    /// that the log no longer reaches becomes a snapshot as well.
    pub fn watch(&self, filter: Filter, from: Option<Position>) -> Result<Watcher, Full> {
        let permit = self.permit_watch()?;
        Ok(Watcher {
            registry: self.clone(),
            filter: Arc::new(filter),
            state: match from {
                None => State::Starting,
                Some(Position(after)) => State::Following { after, greet: true },
            },
            news: self.subscribe(),
            bookmark_after: jittered(self.shared.settings.bookmark_interval),
            alarm: Alarm::default(),
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
                None => self.start().await,
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
                () = self.alarm.at(Some(bookmark_at)) => return Some(self.bookmark()),
            }
        }
    }

    /// The next step if there is one now.
    pub fn next_now(&mut self) -> Option<Arc<Step>> {
        loop {
            match self.look() {
                Found::Step(step) => return Some(step),
                Found::Nothing => return None,
                Found::OutOfReach => self.state = self.telling(&self.registry.snapshot()),
            }
        }
    }

    fn look(&mut self) -> Found {
        let until = *self.news.borrow_and_update();
        let shared = Arc::clone(&self.registry.shared);
        loop {
            match &mut self.state {
                State::Starting => return Found::OutOfReach,
                State::Telling(telling) => {
                    let part = telling.part();
                    if let Some(after) = part.synced {
                        self.state = State::Following { after, greet: false };
                    }
                    return Found::Step(Arc::new(part));
                }
                State::Following { after, greet } => {
                    let span = Span { filter: Arc::clone(&self.filter), after: *after, until };
                    match shared.steps.next(&shared.log, &span) {
                        Next::Nothing if std::mem::take(greet) => return Found::Step(self.bookmark()),
                        Next::Nothing => return Found::Nothing,
                        Next::OutOfReach => self.state = State::Starting,
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

    /// Takes a snapshot, one reader after the other: if a thousand fall behind
    /// together, proxies are heard meanwhile. One that was made while a reader
    /// waited is as good as its own.
    async fn start(&mut self) {
        let asked = self.registry.head();
        let shared = Arc::clone(&self.registry.shared);
        let _turn = shared.snapshot_turn.lock().await;
        self.state = apart(|| {
            let made = shared.snapshots.find(|kept| kept.revision >= asked);
            self.telling(&made.unwrap_or_else(|| self.registry.snapshot()))
        });
    }

    fn telling(&self, snapshot: &Snapshot) -> State {
        let wanted = snapshot.workloads.iter().filter(|workload| self.filter.matches(workload));
        State::Telling(Telling::snapshot(wanted.cloned().collect(), snapshot.revision))
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::{
        super::{RegistrySettings, tests::dataplane},
        *,
    };

    #[tokio::test]
    async fn who_waits_for_a_snapshot_takes_one_that_was_made_meanwhile() {
        let registry = Registry::new(RegistrySettings::default());
        let watch = || registry.watch(Filter::default(), None).unwrap();
        let [mut first, mut second, mut third] = [watch(), watch(), watch()];
        let turn = registry.shared.snapshot_turn.lock().await;
        let (mut first, mut second) = (pin!(first.next()), pin!(second.next()));
        assert!(first.as_mut().now_or_never().is_none(), "one after the other");
        assert!(second.as_mut().now_or_never().is_none());
        let _a = registry.hello(dataplane("a", "web")).unwrap();
        drop(turn);
        let made = first.await.synced;
        assert_eq!(made, Some(1), "not older than the question");
        let _b = registry.hello(dataplane("b", "web")).unwrap();
        assert_eq!(second.await.synced, made);
        assert_eq!(third.next().await.synced, Some(2), "who asks later is told what is true then");
    }
}
