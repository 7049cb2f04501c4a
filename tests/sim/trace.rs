//! The trace of a simulation, by host: shows whether two runs are the same, and what led to a
//! failure.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

/// A handle on the trace; clones share it.
#[derive(Debug, Clone)]
pub struct Trace {
    start: Instant,
    print: bool,
    /// The order of events is recorded within a host only: which of two hosts was first within one
    /// millisecond is not part of the trace.
    hosts: Arc<Mutex<BTreeMap<String, DefaultHasher>>>,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        Self { start: Instant::now(), print, hosts: Arc::default() }
    }

    /// Records an event of a host.
    pub fn record(&self, host: &str, event: fmt::Arguments<'_>) {
        let at = self.start.elapsed().as_millis();
        let event = event.to_string();
        if self.print {
            println!("{:>4}.{:03} s  {host:<12} {event}", at / 1_000, at % 1_000);
        }
        let mut hosts = self.hosts.lock().expect("no panic while it is locked");
        (at, event).hash(hosts.entry(host.to_owned()).or_default());
    }

    /// Returns a hash that is equal for two runs with the same events.
    pub fn hash(&self) -> u64 {
        let mut whole = DefaultHasher::new();
        for (host, events) in &*self.hosts.lock().expect("no panic while it is locked") {
            (host, events.finish()).hash(&mut whole);
        }
        whole.finish()
    }
}
