//! Idle sessions: an ordered set of times at which to check a session, and one timer
//! for all of them.
//!
//! A message only stores its time. A session that was active since its last check is
//! checked again when its timeout could next have passed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    registry::cell::{SessionCell, SessionId},
    runtime::{
        deadline_timer::DeadlineTimer,
        sync::{Mutex, atomic::Ordering::Relaxed},
    },
};

/// Finds the sessions that have been idle for longer than their timeout. Times are
/// milliseconds since the tracker's start, which fit in an atomic.
#[derive(Debug)]
pub(crate) struct IdleTracker {
    start: Instant,
    checks: Mutex<BTreeMap<(u64, SessionId), Arc<SessionCell>>>,
    timer: DeadlineTimer,
}

/// How long a session may be idle before it counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdlePolicy {
    /// The longest time between two messages, in steps of a millisecond, at least one.
    pub timeout: Duration,
    /// Added to the timeout before the first message.
    pub startup_grace: Duration,
}

impl IdleTracker {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), checks: Mutex::default(), timer: DeadlineTimer::default() }
    }

    /// Begins to track a session that has just begun.
    pub(crate) fn track(&self, cell: &Arc<SessionCell>, policy: IdlePolicy) {
        let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        // At least 1, so that no check is at 0.
        let timeout = millis(policy.timeout).max(1);
        let now = self.millis(Instant::now());
        cell.idle.timeout.store(timeout, Relaxed);
        cell.idle.active_at.store(now.saturating_add(millis(policy.startup_grace)), Relaxed);
        // Without the grace: the first message ends it.
        let check_at = now.saturating_add(timeout);
        let mut checks = self.checks.lock();
        let earliest = checks.first_key_value().is_none_or(|((first, _), _)| check_at < *first);
        cell.idle.check_at.store(check_at, Relaxed);
        checks.insert((check_at, cell.id), Arc::clone(cell));
        drop(checks);
        if earliest {
            self.timer.wake();
        }
    }

    /// Records activity, which restarts the timeout.
    pub(crate) fn touch(&self, cell: &SessionCell, now: Instant) {
        cell.idle.active_at.store(self.millis(now), Relaxed);
    }

    /// Stops tracking a session.
    pub(crate) fn untrack(&self, cell: &SessionCell) {
        if cell.idle.check_at.load(Relaxed) > 0 {
            let mut checks = self.checks.lock();
            checks.remove(&(cell.idle.check_at.swap(0, Relaxed), cell.id));
        }
    }

    /// Removes a session whose timeout has passed.
    pub(crate) fn pop_idle(&self, now: Instant) -> Option<Arc<SessionCell>> {
        let now = self.millis(now);
        let mut checks = self.checks.lock();
        loop {
            let first = checks.first_entry().filter(|first| first.key().0 <= now)?;
            let ((_, id), cell) = first.remove_entry();
            let idle = &cell.idle;
            let check_at = idle.active_at.load(Relaxed).saturating_add(idle.timeout.load(Relaxed));
            if check_at <= now {
                idle.check_at.store(0, Relaxed);
                return Some(cell);
            }
            idle.check_at.store(check_at, Relaxed);
            checks.insert((check_at, id), cell);
        }
    }

    /// Waits until a timeout may have passed.
    pub(crate) async fn wait(&self) {
        let first = self.checks.lock().first_key_value().map(|((check_at, _), _)| *check_at);
        // A time too far away to be represented is never reached.
        let first = first.and_then(|first| self.start.checked_add(Duration::from_millis(first)));
        self.timer.sleep_until(first).await;
    }

    /// The number of tracked sessions.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.checks.lock().len()
    }

    fn millis(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}
