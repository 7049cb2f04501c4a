//! When lost dataplanes are forgotten: one ordered set of deadlines, and one
//! sleeper for all of them.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::runtime::deadline_timer::DeadlineTimer;
use crate::{model::DataplaneKey, runtime::sync::Mutex};

#[derive(Debug, Default)]
pub(super) struct Retention {
    due: Mutex<BTreeSet<(Instant, DataplaneKey)>>,
    timer: DeadlineTimer,
}

impl Retention {
    pub(super) fn add(&self, deadline: Instant, key: &DataplaneKey) {
        let mut due = self.due.lock();
        let sooner = due.first().is_none_or(|(first, _)| deadline < *first);
        due.insert((deadline, key.clone()));
        drop(due);
        if sooner {
            self.timer.wake();
        }
    }

    pub(super) fn remove(&self, deadline: Instant, key: &DataplaneKey) {
        self.due.lock().remove(&(deadline, key.clone()));
    }

    /// Takes one whose time has come.
    pub(super) fn pop_due(&self, now: Instant) -> Option<(Instant, DataplaneKey)> {
        let mut due = self.due.lock();
        if due.first().is_some_and(|(deadline, _)| *deadline <= now) { due.pop_first() } else { None }
    }

    /// Takes the one whose time comes first.
    pub(super) fn pop_first(&self) -> Option<(Instant, DataplaneKey)> {
        self.due.lock().pop_first()
    }

    /// Returns when something may be due.
    pub(super) async fn wait(&self) {
        let first = self.due.lock().first().map(|(deadline, _)| *deadline);
        self.timer.sleep_until(first).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{DataplaneName, MeshName, Namespace};

    fn key(name: &str) -> DataplaneKey {
        DataplaneKey {
            mesh: MeshName::parse("", "default").unwrap(),
            namespace: Namespace::parse("", "").unwrap(),
            name: DataplaneName::parse("", name).unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_come_in_their_order_and_not_before() {
        let (retention, start) = (Retention::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (seconds, name) in [(3, "c"), (1, "a"), (2, "b")] {
            retention.add(after(seconds), &key(name));
        }
        retention.remove(after(2), &key("b"));
        assert_eq!(retention.pop_due(after(0)), None);
        assert_eq!(retention.pop_due(after(9)), Some((after(1), key("a"))));
        assert_eq!(retention.pop_due(after(2)), None);
        assert_eq!(retention.pop_due(after(3)), Some((after(3), key("c"))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_sleeper_wakes_at_the_first_deadline_also_of_one_that_came_later() {
        let (retention, start) = (Retention::default(), Instant::now());
        retention.add(start + Duration::from_mins(1), &key("late"));
        retention.wait().await;
        let sooner = async {
            retention.add(start + Duration::from_secs(5), &key("soon"));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sooner => {}
            () = async { while retention.pop_due(Instant::now()).is_none() { retention.wait().await } } => {}
        }
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
