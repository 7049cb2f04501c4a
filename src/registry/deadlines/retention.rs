//! When the registrations of lost dataplanes end: an ordered set of deadlines and one
//! timer for all of them.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::{
    registry::registration::ByKey,
    runtime::{deadline_timer::DeadlineTimer, sync::Mutex},
};

/// The queue of lost dataplanes, ordered by deadline.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    deadlines: Mutex<BTreeSet<(Instant, ByKey)>>,
    timer: DeadlineTimer,
}

impl Retention {
    pub(crate) fn add(&self, deadline: Instant, key: ByKey) {
        let mut deadlines = self.deadlines.lock();
        let earliest = deadlines.first().is_none_or(|(first, _)| deadline < *first);
        deadlines.insert((deadline, key));
        drop(deadlines);
        if earliest {
            self.timer.wake();
        }
    }

    pub(crate) fn remove(&self, deadline: Instant, key: &ByKey) {
        self.deadlines.lock().remove(&(deadline, key.clone()));
    }

    /// Removes a dataplane whose deadline has passed, the earliest first.
    pub(crate) fn pop_expired(&self, now: Instant) -> Option<(Instant, ByKey)> {
        let mut deadlines = self.deadlines.lock();
        if deadlines.first().is_some_and(|(deadline, _)| *deadline <= now) {
            deadlines.pop_first()
        } else {
            None
        }
    }

    /// Removes the dataplane with the earliest deadline.
    pub(crate) fn pop_first(&self) -> Option<(Instant, ByKey)> {
        self.deadlines.lock().pop_first()
    }

    /// Waits until a deadline may have passed.
    pub(crate) async fn wait(&self) {
        let first = self.deadlines.lock().first().map(|(deadline, _)| *deadline);
        self.timer.sleep_until(first).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::registry::tests::dataplane;

    fn key(name: &str) -> ByKey {
        ByKey(Arc::new(dataplane(name, "web")))
    }

    #[tokio::test(start_paused = true)]
    async fn registrations_expire_in_the_order_of_their_deadlines() {
        let (retention, start) = (Retention::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (seconds, name) in [(3, "c"), (1, "a"), (2, "b")] {
            retention.add(after(seconds), key(name));
        }
        retention.remove(after(2), &key("b"));
        assert_eq!(retention.pop_expired(after(0)), None);
        assert_eq!(retention.pop_expired(after(9)), Some((after(1), key("a"))));
        assert_eq!(retention.pop_expired(after(2)), None);
        assert_eq!(retention.pop_expired(after(3)), Some((after(3), key("c"))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_at_the_earliest_deadline_even_if_it_was_added_later() {
        let (retention, start) = (Retention::default(), Instant::now());
        retention.add(start + Duration::from_mins(1), key("late"));
        retention.wait().await;
        let sooner = async {
            retention.add(start + Duration::from_secs(5), key("soon"));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sooner => {}
            () = async { while retention.pop_expired(Instant::now()).is_none() { retention.wait().await } } => {}
        }
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
