//! Events: what a person should know. Each thing that happens is kept once,
//! with a count and the first and last time, and the newest 1,000 are kept.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use crate::model::{MeshName, WorkloadKey};

/// Enough to see a bad night whole; about 500 kB.
const CAPACITY: usize = 1_000;

/// Why an event was recorded. Only warnings are, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Dataplanes of several meshes name one workload in one namespace.
    MultipleMeshesDetected,
}

impl Reason {
    /// The word that machines look for; Kuma's, where Kuma has one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MultipleMeshesDetected => "MultipleMeshesDetected",
        }
    }
}

/// Something that happened, once or many times.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it last happened, among all events.
    pub number: u64,
    /// When it first happened, among all events.
    pub first_number: u64,
    /// The same for every repetition.
    pub uid: Uuid,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// What it is about.
    pub regarding: WorkloadKey,
    /// The mesh that holds the Workload, if one does.
    pub mesh: Option<MeshName>,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first_time: SystemTime,
    /// The last time.
    pub last_time: SystemTime,
}

/// All events, in the order in which they last happened.
#[derive(Debug, Default)]
pub struct EventLog {
    state: Mutex<State>,
    news: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The number before the first.
    begin: u64,
    head: u64,
    by_number: BTreeMap<u64, Arc<Event>>,
    numbers: HashMap<(Reason, WorkloadKey), u64>,
}

impl EventLog {
    /// Lets the first event get the number after this one. To be said before
    /// there is any.
    pub fn begin_after(&self, number: u64) {
        let mut state = self.state.lock();
        (state.begin, state.head) = (number, number);
    }

    /// Whether a reader can have seen all up to a number in this life of the
    /// server.
    pub fn reaches(&self, number: u64) -> bool {
        let state = self.state.lock();
        (state.begin..=state.head).contains(&number)
    }

    /// Notes that something happened, perhaps again.
    pub fn record(
        &self,
        reason: Reason,
        regarding: &WorkloadKey,
        mesh: Option<MeshName>,
        message: String,
        now: SystemTime,
    ) {
        let mut state = self.state.lock();
        let key = (reason, regarding.clone());
        let before = state.numbers.get(&key).copied().and_then(|number| state.by_number.remove(&number));
        state.head += 1;
        let head = state.head;
        let (uid, first_number, count, first_time) = match &before {
            Some(event) => (event.uid, event.first_number, event.count + 1, event.first_time),
            None => (Uuid::new_v4(), head, 1, now),
        };
        let event = Event {
            number: head,
            first_number,
            uid,
            reason,
            message,
            regarding: regarding.clone(),
            mesh,
            count,
            first_time,
            last_time: now,
        };
        state.by_number.insert(head, Arc::new(event));
        state.numbers.insert(key, head);
        if state.by_number.len() > CAPACITY
            && let Some((_, oldest)) = state.by_number.pop_first()
        {
            state.numbers.remove(&(oldest.reason, oldest.regarding.clone()));
        }
        drop(state);
        self.news.send_replace(head);
    }

    /// The events that happened after a number, and the newest number. 0 is
    /// before all of them.
    pub fn after(&self, number: u64) -> (Vec<Arc<Event>>, u64) {
        let state = self.state.lock();
        (state.by_number.range(number + 1..).map(|(_, event)| Arc::clone(event)).collect(), state.head)
    }

    /// The newest number.
    pub fn head(&self) -> u64 {
        self.state.lock().head
    }

    /// Wakes whenever something happened. Subscribe before you look.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Namespace, WorkloadName};

    fn key(name: &str) -> WorkloadKey {
        WorkloadKey {
            namespace: Namespace::parse("", "").unwrap(),
            name: WorkloadName::parse_universal("", name).unwrap(),
        }
    }

    fn record(log: &EventLog, name: &str, second: u64) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        log.record(Reason::MultipleMeshesDetected, &key(name), None, format!("at {second}"), now);
    }

    #[test]
    fn a_repetition_is_counted_and_moves_to_the_end() {
        let log = EventLog::default();
        record(&log, "a", 1);
        record(&log, "b", 2);
        let (_, seen) = log.after(0);
        record(&log, "a", 3);
        let (events, head) = log.after(0);
        let summary: Vec<_> =
            events.iter().map(|e| (e.regarding.name.as_str(), e.count, e.message.as_str())).collect();
        assert_eq!(summary, [("b", 1, "at 2"), ("a", 2, "at 3")]);
        assert_eq!(events[1].first_time, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!((events[1].first_number, events[1].number, head), (1, 3, 3));
        let (news, same_head) = log.after(seen);
        assert_eq!((news.len(), same_head), (1, head));
        assert_eq!(news[0].uid, events[1].uid);
    }

    #[test]
    fn numbers_of_another_life_are_not_reached() {
        let log = EventLog::default();
        log.begin_after(1_000);
        record(&log, "a", 1);
        assert_eq!(log.after(1_000).0[0].number, 1_001);
        for (number, reached) in [(999, false), (1_000, true), (1_001, true), (1_002, false)] {
            assert_eq!(log.reaches(number), reached, "{number}");
        }
    }

    #[test]
    fn the_oldest_makes_room() {
        let log = EventLog::default();
        for n in 0..CAPACITY + 5 {
            record(&log, &format!("w{n}"), 0);
        }
        let (events, _) = log.after(0);
        assert_eq!(events.len(), CAPACITY);
        assert_eq!(events[0].regarding.name.as_str(), "w5");
        record(&log, "w0", 0);
        assert_eq!(log.after(0).0.last().unwrap().count, 1, "a forgotten event starts anew");
    }
}
