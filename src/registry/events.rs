//! Events: what an operator should know. Repetitions are counted in one event with the
//! first and the last time. At most 1,000 events are kept, and at most 200 about proxies.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    model::{DataplaneGrant, MeshName, Namespace, WorkloadKey},
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Replaces the namespace and the name by those that the proxy's credential proves, where it
    /// proves them: otherwise a proxy could push out the events about others by invented names.
    #[must_use]
    pub fn with_proven(mut self, grant: &DataplaneGrant) -> Self {
        if let Some(namespace) = &grant.namespace {
            self.namespace = namespace.clone();
        }
        if let Some(name) = &grant.name {
            self.name = name.as_str().into();
        }
        self
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
    /// The numbers of the events about proxies.
    about_proxies: BTreeSet<u64>,
    numbers: HashMap<(Reason, Regarding), u64>,
    /// The numbers of the events of each share, the oldest first.
    shares: HashMap<Share, BTreeSet<u64>>,
    /// The shares by size.
    by_size: BTreeSet<(usize, Share)>,
}

/// Events of one reason in one mesh. When the log is full, the largest share loses its oldest
/// event, so that no mesh can push out the events of the others.
type Share = (Reason, Option<MeshName>);

impl State {
    fn insert(&mut self, event: Event) {
        let number = event.number;
        if matches!(event.regarding, Regarding::Proxy(_)) {
            self.about_proxies.insert(number);
        }
        self.numbers.insert((event.reason, event.regarding.clone()), number);
        self.change_share((event.reason, event.mesh.clone()), |numbers| numbers.insert(number));
        self.by_number.insert(number, Arc::new(event));
    }

    /// Changes the numbers of a share, and keeps its place among the sizes.
    fn change_share(&mut self, share: Share, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let numbers = self.shares.entry(share.clone()).or_default();
        let before = numbers.len();
        change(numbers);
        let after = numbers.len();
        if after == 0 {
            self.shares.remove(&share);
        } else {
            self.by_size.insert((after, share.clone()));
        }
        self.by_size.remove(&(before, share));
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Event>> {
        let event = self.by_number.remove(&number)?;
        self.about_proxies.remove(&number);
        self.numbers.remove(&(event.reason, event.regarding.clone()));
        self.change_share((event.reason, event.mesh.clone()), |numbers| numbers.remove(&number));
        Some(event)
    }

    /// Removes an event if there is one too many.
    fn trim(&mut self) {
        let oldest = if self.about_proxies.len() > MAX_ABOUT_PROXIES {
            // Rejections may not push out the events about duplicates, and vice versa.
            let mut shares =
                self.by_size.iter().rev().filter_map(|(_, share)| self.shares.get(share)?.first());
            shares.find(|number| self.about_proxies.contains(*number))
        } else if self.by_number.len() > CAPACITY {
            let largest = self.by_size.last().and_then(|(_, share)| self.shares.get(share));
            largest.and_then(BTreeSet::first)
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
mod tests;
