//! Events: what an operator should know. Repetitions are counted in one event with the
//! first and the last time. The latest 1,000 events are kept, and at most 200 about
//! proxies.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    model::{MeshName, Namespace, WorkloadKey},
    runtime::sync::Mutex,
};

/// Enough for all events of a bad night; about 500 kB.
const CAPACITY: usize = 1_000;
/// The share of events about proxies. Their names are not verified, so they may not push out
/// events about known workloads.
const MAX_ABOUT_PROXIES: usize = 200;
/// Bytes of a message. All events fit into one gRPC message of less than 4 MiB.
const MAX_MESSAGE: usize = 2_048;
/// The longest name that a dataplane can have, in characters.
const MAX_NAME: usize = 253;

/// Why an event was recorded. All events are warnings so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Dataplanes of several meshes name one workload in one namespace.
    MultipleMeshesDetected,
    /// A proxy was rejected that can't show its user the reason.
    DataplaneRefused,
    /// Two living processes register one dataplane.
    DuplicateIdentity,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Regarding {
    /// A Workload, whether or not it exists now.
    Workload(WorkloadKey),
    /// A proxy that was rejected or held off.
    Proxy(UnknownProxy),
}

/// A proxy by the name it gave itself, which need not be valid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnknownProxy {
    namespace: Namespace,
    name: Arc<str>,
}

impl UnknownProxy {
    /// Truncates the name to the longest valid one, and replaces every character that is
    /// not printable ASCII.
    pub fn new(namespace: Namespace, name: &str) -> Self {
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        Self { namespace, name: name.chars().take(MAX_NAME).map(printable).collect::<String>().into() }
    }

    /// The name, printable.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Regarding {
    /// The namespace of its subject.
    pub fn namespace(&self) -> &Namespace {
        match self {
            Self::Workload(key) => &key.namespace,
            Self::Proxy(proxy) => &proxy.namespace,
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
    /// The reason as machines match it; Kuma's word where Kuma has one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MultipleMeshesDetected => "MultipleMeshesDetected",
            Self::DataplaneRefused => "DataplaneRefused",
            Self::DuplicateIdentity => "DuplicateIdentity",
        }
    }
}

/// Something that happened, once or repeatedly.
#[derive(Debug, Clone)]
pub struct Event {
    /// The number of its latest occurrence among all events.
    pub number: u64,
    /// The number of its first occurrence.
    pub first_number: u64,
    /// The same for every repetition.
    pub uid: Uuid,
    /// Why it was recorded.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// What it is about.
    pub regarding: Regarding,
    /// The mesh that holds the Workload, if one does.
    pub mesh: Option<MeshName>,
    /// The number of occurrences.
    pub count: u64,
    /// The first occurrence.
    pub first_time: SystemTime,
    /// The latest occurrence.
    pub last_time: SystemTime,
}

/// All events in the order of their latest occurrence.
#[derive(Debug, Default)]
pub struct EventLog {
    state: Mutex<State>,
    announced: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The number before the first event.
    begin: u64,
    head: u64,
    by_number: BTreeMap<u64, Arc<Event>>,
    /// The numbers of the events about proxies, the oldest first.
    about_proxies: BTreeSet<u64>,
    numbers: HashMap<(Reason, Regarding), u64>,
}

impl State {
    fn insert(&mut self, event: Event) {
        let number = event.number;
        if matches!(event.regarding, Regarding::Proxy(_)) {
            self.about_proxies.insert(number);
        }
        self.numbers.insert((event.reason, event.regarding.clone()), number);
        self.by_number.insert(number, Arc::new(event));
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Event>> {
        let event = self.by_number.remove(&number)?;
        self.about_proxies.remove(&number);
        self.numbers.remove(&(event.reason, event.regarding.clone()));
        Some(event)
    }

    /// Removes the oldest event if there is one too many.
    fn trim(&mut self) {
        let oldest = if self.about_proxies.len() > MAX_ABOUT_PROXIES {
            self.about_proxies.first()
        } else if self.by_number.len() > CAPACITY {
            self.by_number.keys().next()
        } else {
            None
        };
        if let Some(oldest) = oldest.copied() {
            self.remove(oldest);
        }
    }
}

impl EventLog {
    /// Makes the first event get the number after `number`. Call it before there is any.
    pub fn begin_after(&self, number: u64) {
        let mut state = self.state.lock();
        (state.begin, state.head) = (number, number);
    }

    /// Whether a number belongs to this run of the server.
    pub fn reaches(&self, number: u64) -> bool {
        let state = self.state.lock();
        (state.begin..=state.head).contains(&number)
    }

    /// Records an occurrence, of a new event or of one that is known.
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
        let known = state.numbers.get(&key).copied().and_then(|number| state.remove(number));
        state.head += 1;
        let head = state.head;
        let (uid, first_number, count, first_time) = match &known {
            Some(event) => (event.uid, event.first_number, event.count + 1, event.first_time),
            None => (Uuid::new_v4(), head, 1, now),
        };
        let event = Event {
            number: head,
            first_number,
            uid,
            reason,
            message: truncated(message),
            regarding,
            mesh,
            count,
            first_time,
            last_time: now,
        };
        state.insert(event);
        state.trim();
        drop(state);
        self.announced.send_replace(head);
    }

    /// The events that occurred after a number, and the latest number. 0 is before all
    /// of them.
    pub fn after(&self, number: u64) -> (Vec<Arc<Event>>, u64) {
        let state = self.state.lock();
        (state.by_number.range(number + 1..).map(|(_, event)| Arc::clone(event)).collect(), state.head)
    }

    /// The latest number.
    pub fn head(&self) -> u64 {
        self.state.lock().head
    }

    /// Changes whenever an event occurs. Subscribe before you read.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.announced.subscribe()
    }
}

/// Truncates a message to at most [`MAX_MESSAGE`] bytes.
fn truncated(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    message
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
            Regarding::Proxy(proxy) => proxy.name(),
        }
    }

    #[test]
    fn rejections_push_out_rejections_only() {
        let log = EventLog::default();
        record(&log, "a", 1);
        for n in 0..2 * CAPACITY {
            let namespace = Namespace::parse("", "").unwrap();
            let regarding = Regarding::Proxy(UnknownProxy::new(namespace, &format!("p{n}")));
            log.record(Reason::DataplaneRefused, regarding, None, String::new(), SystemTime::UNIX_EPOCH);
        }
        let (events, _) = log.after(0);
        assert_eq!(events.len(), 1 + MAX_ABOUT_PROXIES);
        assert_eq!((name(&events[0]), name(&events[1])), ("a", "p1800"));
    }

    #[test]
    fn the_name_of_an_unknown_proxy_is_truncated_and_printable() {
        let proxy = UnknownProxy::new(
            Namespace::parse("", "").unwrap(),
            &format!("\u{1b}[31mé{}", "x".repeat(1_000)),
        );
        assert!(proxy.name().starts_with("?[31m?xxx"), "{}", proxy.name());
        assert_eq!(proxy.name().len(), MAX_NAME);
    }

    #[test]
    fn a_long_message_is_truncated() {
        let log = EventLog::default();
        let regarding = Regarding::Workload(key("a"));
        let message = format!("a{}", "é".repeat(10_000));
        log.record(Reason::MultipleMeshesDetected, regarding, None, message, SystemTime::UNIX_EPOCH);
        assert_eq!(log.after(0).0[0].message.len(), MAX_MESSAGE - 1);
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
        let (later, same_head) = log.after(seen);
        assert_eq!((later.len(), same_head), (1, head));
        assert_eq!(later[0].uid, events[1].uid);
    }

    #[test]
    fn numbers_of_another_run_are_not_reached() {
        let log = EventLog::default();
        log.begin_after(1_000);
        record(&log, "a", 1);
        assert_eq!(log.after(1_000).0[0].number, 1_001);
        for (number, reached) in [(999, false), (1_000, true), (1_001, true), (1_002, false)] {
            assert_eq!(log.reaches(number), reached, "{number}");
        }
    }

    #[test]
    fn a_new_event_replaces_the_oldest() {
        let log = EventLog::default();
        for n in 0..CAPACITY + 5 {
            record(&log, &format!("w{n}"), 0);
        }
        let (events, _) = log.after(0);
        assert_eq!(events.len(), CAPACITY);
        assert_eq!(name(&events[0]), "w5");
        record(&log, "w0", 0);
        assert_eq!(log.after(0).0.last().unwrap().count, 1, "a removed event starts again");
    }
}
