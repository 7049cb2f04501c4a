//! The histories of the dataplanes that have one: bounded in time and in number.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::history::{Hello, History, Known, NotAdmitted};
use crate::{
    model::{Attempt, DataplaneKey},
    registry::Client,
    runtime::sync::Mutex,
};

/// The most histories; the one that expires first makes room. Far more than the dataplanes that
/// are ever in conflict, and as many as leave at once in a large mesh.
const CAPACITY: usize = 10_000;

/// All histories. The lock is taken while a dataplane is locked, and nothing is locked under it.
#[derive(Debug, Default)]
pub(crate) struct Histories(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    // By the key alone: a dataplane that has left must not stay in memory.
    by_key: HashMap<DataplaneKey, History>,
    expirations: BTreeSet<(Instant, DataplaneKey)>,
}

impl Histories {
    /// Admits a hello of a locked dataplane; see [`History::admit`].
    ///
    /// # Errors
    ///
    /// As [`History::admit`].
    pub(crate) fn admit(
        &self,
        key: &DataplaneKey,
        hello: &Hello,
        known: Option<&Known>,
        interval: Duration,
    ) -> Result<(), NotAdmitted> {
        // Read here, so that times follow the order in which the dataplane was locked.
        let now = Instant::now();
        self.0.lock().change(key, now, |history| history.admit(hello, known, interval, now))
    }

    /// Records that a client of a locked dataplane connects; see [`History::connect`].
    pub(crate) fn connect(&self, key: &DataplaneKey, client: Client, known: Option<&Known>) {
        let now = Instant::now();
        self.0.lock().change(key, now, |history| history.connect(client, known, now));
    }

    /// Records that the registration of a locked dataplane has ended.
    pub(crate) fn depart(&self, key: &DataplaneKey, attempt: Attempt, opened: Instant) {
        let now = Instant::now();
        self.0.lock().change(key, now, |history| history.depart(attempt, opened, now));
    }

    /// Records that a hello no longer waits.
    pub(crate) fn cancel(&self, key: &DataplaneKey, hello: u64) {
        if let Some(history) = self.0.lock().by_key.get_mut(key) {
            history.cancel(hello);
        }
    }

    /// Removes what no longer counts.
    pub(crate) fn expire(&self, now: Instant) {
        let mut state = self.0.lock();
        state.expire(now);
        if state.by_key.capacity() > 4 * state.by_key.len() {
            state.by_key.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().by_key.len()
    }
}

impl State {
    /// Changes the history of a dataplane, and stores it if it counts.
    fn change<T>(&mut self, key: &DataplaneKey, now: Instant, change: impl FnOnce(&mut History) -> T) -> T {
        self.expire(now);
        let Some(history) = self.by_key.get_mut(key) else {
            let mut history = History::default();
            let changed = change(&mut history);
            if let Some(expires_at) = history.expires_at() {
                self.by_key.insert(key.clone(), history);
                self.expirations.insert((expires_at, key.clone()));
                self.trim();
            }
            return changed;
        };
        let before = history.expires_at();
        let changed = change(history);
        let after = history.expires_at();
        if before != after {
            before.map(|before| self.expirations.remove(&(before, key.clone())));
            after.map(|after| self.expirations.insert((after, key.clone())));
        }
        changed
    }

    fn expire(&mut self, now: Instant) {
        while self.expirations.first().is_some_and(|(expires_at, _)| *expires_at <= now) {
            self.remove_first();
        }
    }

    fn trim(&mut self) {
        if self.by_key.len() > CAPACITY {
            self.remove_first();
        }
    }

    fn remove_first(&mut self) {
        if let Some((_, key)) = self.expirations.pop_first() {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::dataplane;

    fn key(name: &str) -> DataplaneKey {
        dataplane(name, "web").key
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_is_kept_for_a_minute_and_the_oldest_makes_room() {
        let (histories, start) = (Histories::default(), Instant::now());
        for n in 0..CAPACITY + 5 {
            histories.depart(&key(&format!("{n}")), Attempt::default(), start);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(histories.len(), CAPACITY);
        {
            let state = histories.0.lock();
            assert!(!state.by_key.contains_key(&key("4")) && state.by_key.contains_key(&key("5")));
        }
        histories.expire(start + Duration::from_mins(1));
        assert_eq!(histories.len(), CAPACITY);
        histories.expire(start + Duration::from_mins(1) + Duration::from_millis(5));
        assert_eq!(histories.len(), CAPACITY - 1);
        histories.expire(start + Duration::from_hours(1));
        let state = histories.0.lock();
        assert_eq!((state.by_key.capacity(), state.expirations.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_that_is_used_again_is_kept_for_longer() {
        let (histories, start) = (Histories::default(), Instant::now());
        histories.depart(&key("a"), Attempt::default(), start);
        tokio::time::advance(Duration::from_secs(30)).await;
        histories.depart(&key("a"), Attempt::default(), start);
        histories.expire(start + Duration::from_secs(89));
        assert_eq!(histories.len(), 1);
        histories.expire(start + Duration::from_secs(90));
        assert_eq!(histories.len(), 0);
    }
}
