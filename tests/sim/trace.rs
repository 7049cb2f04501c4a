//! What happened, by host: enough to tell two runs apart, and to read when one
//! of them failed.

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
    /// Each host's own history. Which of two hosts was first within one
    /// millisecond is no part of it.
    hosts: Arc<Mutex<BTreeMap<String, DefaultHasher>>>,
}

impl Trace {
    pub fn new(print: bool) -> Self {
        Self { start: Instant::now(), print, hosts: Arc::default() }
    }

    /// Something happened on a host.
    pub fn note(&self, host: &str, what: fmt::Arguments<'_>) {
        let at = self.start.elapsed().as_millis();
        let what = what.to_string();
        if self.print {
            println!("{:>4}.{:03} s  {host:<12} {what}", at / 1_000, at % 1_000);
        }
        let mut hosts = self.hosts.lock().expect("nobody panics with it");
        (at, what).hash(hosts.entry(host.to_owned()).or_default());
    }

    /// Equal for two runs in which the same happened.
    pub fn hash(&self) -> u64 {
        let mut whole = DefaultHasher::new();
        for (host, history) in &*self.hosts.lock().expect("nobody panics with it") {
            (host, history.finish()).hash(&mut whole);
        }
        whole.finish()
    }
}
