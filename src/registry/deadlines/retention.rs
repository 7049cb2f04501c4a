//! When the registrations of lost dataplanes end: an ordered set of deadlines and one
//! timer for all of them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::{
    model::MeshName,
    registry::registration::ByKey,
    runtime::{deadline_timer::DeadlineTimer, sync::Mutex},
};

/// The queue of lost dataplanes, ordered by deadline.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    queues: Mutex<Queues>,
    timer: DeadlineTimer,
}

type Queue = BTreeSet<(Instant, ByKey)>;

/// Each lost dataplane is in both.
#[derive(Debug, Default)]
struct Queues {
    all: Queue,
    /// To find the dataplane of a mesh that has been lost for longest.
    by_mesh: BTreeMap<MeshName, Queue>,
}

impl Retention {
    pub(crate) fn add(&self, deadline: Instant, key: ByKey) {
        let mut queues = self.queues.lock();
        let earliest = queues.all.first().is_none_or(|(first, _)| deadline < *first);
        queues.insert(deadline, key);
        drop(queues);
        if earliest {
            self.timer.wake();
        }
    }

    pub(crate) fn remove(&self, deadline: Instant, key: &ByKey) {
        self.queues.lock().remove(&(deadline, key.clone()));
    }

    /// Removes a dataplane whose deadline has passed, the earliest first.
    pub(crate) fn pop_expired(&self, now: Instant) -> Option<(Instant, ByKey)> {
        let mut queues = self.queues.lock();
        let first = queues.all.first().filter(|(deadline, _)| *deadline <= now).cloned()?;
        queues.remove(&first);
        Some(first)
    }

    /// Removes the dataplane with the earliest deadline, of one mesh or of all.
    pub(crate) fn pop_first(&self, mesh: Option<&MeshName>) -> Option<(Instant, ByKey)> {
        let mut queues = self.queues.lock();
        let queue = match mesh {
            Some(mesh) => queues.by_mesh.get(mesh)?,
            None => &queues.all,
        };
        let first = queue.first().cloned()?;
        queues.remove(&first);
        Some(first)
    }

    /// Waits until a deadline may have passed.
    pub(crate) async fn wait(&self) {
        let first = self.queues.lock().all.first().map(|(deadline, _)| *deadline);
        self.timer.sleep_until(first).await;
    }
}

impl Queues {
    fn insert(&mut self, deadline: Instant, key: ByKey) {
        let in_mesh = self.by_mesh.entry(key.0.key.mesh.clone()).or_default();
        in_mesh.insert((deadline, key.clone()));
        self.all.insert((deadline, key));
    }

    fn remove(&mut self, lost: &(Instant, ByKey)) {
        self.all.remove(lost);
        let (_, ByKey(dataplane)) = lost;
        let mesh = &dataplane.key.mesh;
        if let Some(in_mesh) = self.by_mesh.get_mut(mesh) {
            in_mesh.remove(lost);
            if in_mesh.is_empty() {
                self.by_mesh.remove(mesh);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::registry::tests::{dataplane, dataplane_in};

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
    async fn the_first_of_one_mesh_is_removed_from_both_queues() {
        let (retention, start) = (Retention::default(), Instant::now());
        let other = ByKey(Arc::new(dataplane_in("other", "x", "web")));
        let (a, b) = (key("a"), key("b"));
        for (seconds, key) in [(1, &other), (3, &b), (2, &a)] {
            retention.add(start + Duration::from_secs(seconds), key.clone());
        }
        let first = |mesh| retention.pop_first(mesh).map(|(_, key)| key);
        assert_eq!(first(Some(&a.0.key.mesh)), Some(a.clone()));
        assert_eq!((first(None), first(None)), (Some(other.clone()), Some(b)));
        assert_eq!((first(Some(&other.0.key.mesh)), first(Some(&a.0.key.mesh))), (None, None));
        assert!(retention.queues.lock().by_mesh.is_empty());
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
