//! Events: what a person should know. Each thing that happens is kept once,
//! with a count and the first and last time, and the newest 1,000 are kept; of
//! strangers who were refused, 200.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    model::{MeshName, Namespace, WorkloadKey},
    runtime::sync::Mutex,
};

/// Enough to see a bad night whole; about 500 kB.
const CAPACITY: usize = 1_000;
/// Of them, about proxies that were refused. They can call themselves anything,
/// and shall not push out what is known to be true.
const REFUSED: usize = 200;
/// Of a name that a stranger gives itself: the longest that could be valid.
const LONGEST_NAME: usize = 253;

/// Why an event was recorded. Only warnings are, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Dataplanes of several meshes name one workload in one namespace.
    MultipleMeshesDetected,
    /// A proxy that can't show its user why was not let in.
    DataplaneRefused,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Regarding {
    /// A Workload, whether or not there is one now.
    Workload(WorkloadKey),
    /// A proxy that was not let in.
    Proxy(Stranger),
}

/// A proxy as it calls itself, which need be no name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stranger {
    namespace: Namespace,
    name: Arc<str>,
}

impl Stranger {
    /// Keeps of the name what could be a valid one, and nothing that a terminal
    /// would obey.
    pub fn new(namespace: Namespace, name: &str) -> Self {
        let shown = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        Self { namespace, name: name.chars().take(LONGEST_NAME).map(shown).collect::<String>().into() }
    }

    /// Its name, printable.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Regarding {
    /// Where it is.
    pub fn namespace(&self) -> &Namespace {
        match self {
            Self::Workload(key) => &key.namespace,
            Self::Proxy(stranger) => &stranger.namespace,
        }
    }

    /// The Workload, if it is about one.
    pub fn workload(&self) -> Option<&WorkloadKey> {
        match self {
            Self::Workload(key) => Some(key),
            Self::Proxy(_) => None,
        }
    }
}

impl Reason {
    /// The word that machines look for; Kuma's, where Kuma has one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MultipleMeshesDetected => "MultipleMeshesDetected",
            Self::DataplaneRefused => "DataplaneRefused",
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
    pub regarding: Regarding,
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
    numbers: HashMap<(Reason, Regarding), u64>,
}

impl State {
    /// Forgets the oldest event where there is one too many, after one of this
    /// reason was added.
    fn make_room(&mut self, added: Reason) {
        let like = |event: &Arc<Event>| event.reason == added;
        let crowded = added == Reason::DataplaneRefused
            && self.by_number.values().filter(|event| like(event)).count() > REFUSED;
        let oldest = if crowded {
            self.by_number.iter().find(|(_, event)| like(event))
        } else if self.by_number.len() > CAPACITY {
            self.by_number.first_key_value()
        } else {
            None
        };
        if let Some(oldest) =
            oldest.map(|(number, _)| *number).and_then(|number| self.by_number.remove(&number))
        {
            self.numbers.remove(&(oldest.reason, oldest.regarding.clone()));
        }
    }
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
        regarding: Regarding,
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
            regarding,
            mesh,
            count,
            first_time,
            last_time: now,
        };
        state.by_number.insert(head, Arc::new(event));
        state.numbers.insert(key, head);
        state.make_room(reason);
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
        let regarding = Regarding::Workload(key(name));
        log.record(Reason::MultipleMeshesDetected, regarding, None, format!("at {second}"), now);
    }

    fn name(event: &Event) -> &str {
        match &event.regarding {
            Regarding::Workload(key) => key.name.as_str(),
            Regarding::Proxy(stranger) => stranger.name(),
        }
    }

    #[test]
    fn strangers_push_out_strangers_only() {
        let log = EventLog::default();
        record(&log, "a", 1);
        for n in 0..2 * CAPACITY {
            let namespace = Namespace::parse("", "").unwrap();
            let regarding = Regarding::Proxy(Stranger::new(namespace, &format!("p{n}")));
            log.record(Reason::DataplaneRefused, regarding, None, String::new(), SystemTime::UNIX_EPOCH);
        }
        let (events, _) = log.after(0);
        assert_eq!(events.len(), 1 + REFUSED);
        assert_eq!((name(&events[0]), name(&events[1])), ("a", "p1800"));
    }

    #[test]
    fn what_strangers_call_themselves_is_cut_and_harmless() {
        let stranger =
            Stranger::new(Namespace::parse("", "").unwrap(), &format!("\u{1b}[31mé{}", "x".repeat(1_000)));
        assert!(stranger.name().starts_with("?[31m?xxx"), "{}", stranger.name());
        assert_eq!(stranger.name().len(), LONGEST_NAME);
    }

    #[test]
    fn a_repetition_is_counted_and_moves_to_the_end() {
        let log = EventLog::default();
        record(&log, "a", 1);
        record(&log, "b", 2);
        let (_, seen) = log.after(0);
        record(&log, "a", 3);
        let (events, head) = log.after(0);
        let summary: Vec<_> = events.iter().map(|e| (name(e), e.count, e.message.as_str())).collect();
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
        assert_eq!(name(&events[0]), "w5");
        record(&log, "w0", 0);
        assert_eq!(log.after(0).0.last().unwrap().count, 1, "a forgotten event starts anew");
    }
}
