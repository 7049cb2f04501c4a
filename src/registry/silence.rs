//! Who says nothing for too long: one ordered set of times at which to look
//! again, and one sleeper for all sessions.
//!
//! A message only notes its time. Whoever has spoken since it was looked at last
//! is looked at again when that would be too long ago.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::session::{SessionCell, SessionId};
use crate::runtime::deadline_timer::DeadlineTimer;
use crate::runtime::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// See the module's documentation. Times are milliseconds since its start,
/// which fit in an atomic.
#[derive(Debug)]
pub(super) struct Silence {
    start: Instant,
    looks: Mutex<BTreeMap<(u64, SessionId), Arc<SessionCell>>>,
    timer: DeadlineTimer,
}

/// How long a session may say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endurance {
    /// Between two things that it says.
    pub silence: Duration,
    /// So much longer before the first one.
    pub start: Duration,
}

/// How long a session may be silent, and how long it is.
#[derive(Debug, Default)]
pub(super) struct Patience {
    heard_at: AtomicU64,
    /// Of the two, written under the lock of all looks only; 0 if nobody looks.
    look_at: AtomicU64,
    limit: AtomicU64,
}

impl Silence {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), looks: Mutex::default(), timer: DeadlineTimer::default() }
    }

    /// Begins to look after a session that has just begun.
    pub(super) fn listen(&self, cell: &Arc<SessionCell>, endurance: Endurance) {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        // Never 0, so that a look is never at 0 either.
        let limit = millis(endurance.silence).max(1);
        let now = self.millis(Instant::now());
        cell.patience.limit.store(limit, Relaxed);
        cell.patience.heard_at.store(now.saturating_add(millis(endurance.start)), Relaxed);
        // Not later: its first word may put the end forward.
        let look_at = now.saturating_add(limit);
        let mut looks = self.looks.lock();
        let sooner = looks.first_key_value().is_none_or(|((first, _), _)| look_at < *first);
        cell.patience.look_at.store(look_at, Relaxed);
        looks.insert((look_at, cell.id), Arc::clone(cell));
        drop(looks);
        if sooner {
            self.timer.wake();
        }
    }

    /// Something was heard.
    pub(super) fn heard(&self, cell: &SessionCell, now: Instant) {
        cell.patience.heard_at.store(self.millis(now), Relaxed);
    }

    /// Looks after a session no more.
    pub(super) fn forget(&self, cell: &SessionCell) {
        if cell.patience.look_at.load(Relaxed) > 0 {
            let mut looks = self.looks.lock();
            looks.remove(&(cell.patience.look_at.swap(0, Relaxed), cell.id));
        }
    }

    /// Takes one that has been silent for too long.
    pub(super) fn pop_silent(&self, now: Instant) -> Option<Arc<SessionCell>> {
        let now = self.millis(now);
        let mut looks = self.looks.lock();
        loop {
            let first = looks.first_entry().filter(|first| first.key().0 <= now)?;
            let ((_, id), cell) = first.remove_entry();
            let patience = &cell.patience;
            let look_at = patience.heard_at.load(Relaxed).saturating_add(patience.limit.load(Relaxed));
            if look_at <= now {
                patience.look_at.store(0, Relaxed);
                return Some(cell);
            }
            patience.look_at.store(look_at, Relaxed);
            looks.insert((look_at, id), cell);
        }
    }

    /// Returns when it may be time to look.
    pub(super) async fn wait(&self) {
        let first = self.looks.lock().first_key_value().map(|((look_at, _), _)| *look_at);
        // What is too far away to be a time never comes.
        let first = first.and_then(|first| self.start.checked_add(Duration::from_millis(first)));
        self.timer.sleep_until(first).await;
    }

    fn millis(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::{
        Notice, Paced, Registry, RegistrySettings,
        tests::{counts, dataplane, report},
    };
    use super::*;
    use crate::model::HealthState;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn registry() -> Registry {
        Registry::new(RegistrySettings { flap_interval: Duration::ZERO, ..RegistrySettings::default() })
    }

    fn connect(registry: &Registry, name: &str, patience: Duration) -> Paced {
        let endurance = Endurance { silence: patience, start: Duration::ZERO };
        registry.pace(registry.hello(dataplane(name, "web")).unwrap().session, endurance)
    }

    async fn after(registry: &Registry, seconds: u64) -> Option<(u32, u32, u32)> {
        advance(Duration::from_secs(seconds)).await;
        registry.shared.lose_silent(Instant::now());
        counts(registry, "web")
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_for_too_long_is_lost_and_told() {
        let registry = registry();
        let mut silent = connect(&registry, "a", PATIENCE);
        let mut chatty = connect(&registry, "b", PATIENCE);
        silent.report(report(1, HealthState::Ready));
        assert_eq!(after(&registry, 6).await, Some((2, 1, 2)));
        chatty.report(report(1, HealthState::Ready));
        assert_eq!(after(&registry, 3).await, Some((2, 2, 2)));
        assert_eq!(after(&registry, 1).await, Some((1, 1, 2)));
        assert_eq!(silent.session().notice().await, Notice::Silent);
        chatty.alive();
        assert_eq!(after(&registry, 9).await, Some((1, 1, 2)));
        // What it says now comes too late, and so does its end.
        silent.report(report(2, HealthState::Ready));
        drop(silent);
        assert_eq!(after(&registry, 0).await, Some((1, 1, 2)));
        assert_eq!(after(&registry, 1).await, Some((0, 0, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_word_there_may_be_more_time() {
        let registry = registry();
        let endurance = Endurance { silence: PATIENCE, start: PATIENCE / 2 };
        let paced = ["a", "b"].map(|name| {
            let session = registry.hello(dataplane(name, "web")).unwrap().session;
            registry.pace(session, endurance)
        });
        assert_eq!(after(&registry, 3).await, Some((2, 0, 2)));
        paced[0].alive();
        assert_eq!(after(&registry, 9).await, Some((2, 0, 2)));
        assert_eq!(after(&registry, 1).await, Some((1, 0, 2)), "the one that has spoken");
        assert_eq!(after(&registry, 2).await, Some((0, 0, 2)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_its_own_patience_and_none_is_kept_when_its_session_ends() {
        let registry = registry();
        let (ends, leaves) = (connect(&registry, "a", PATIENCE), connect(&registry, "b", PATIENCE));
        let _short = connect(&registry, "c", PATIENCE / 5);
        let _endless = connect(&registry, "d", Duration::MAX);
        let taken_over = connect(&registry, "e", PATIENCE);
        let _newer = connect(&registry, "e", PATIENCE);
        assert_eq!(registry.shared.silence.looks.lock().len(), 6);
        drop((ends, taken_over));
        leaves.goodbye();
        assert_eq!(registry.shared.silence.looks.lock().len(), 3);
        assert_eq!(after(&registry, 2).await, Some((2, 0, 4)));
        assert_eq!(after(&registry, 60).await, Some((1, 0, 4)), "the endless one stays");
        assert_eq!(registry.shared.silence.looks.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_sleeper_wakes_when_the_first_falls_silent_also_one_that_came_later() {
        let (registry, start) = (registry(), Instant::now());
        let _later = connect(&registry, "a", 10 * PATIENCE);
        let lost = async {
            let later = async {
                tokio::task::yield_now().await;
                connect(&registry, "b", PATIENCE)
            };
            later.await.session().notice().await
        };
        tokio::select! {
            () = registry.run() => unreachable!("it runs until dropped"),
            notice = lost => assert_eq!(notice, Notice::Silent),
        }
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
