//! Crashes at random moments, of a disk that drops, reorders and tears what was not synced, and
//! whose syncs may fail. `HEADCOUNT_STORE_CRASHES` sets their number.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Fault, commit, load, new_disk, open, put, simulated_disk::SimulatedDisk};
use crate::store::{
    Expected, Loaded, StoreError, Write,
    embedded::{EmbeddedStore, OpenError},
};

const CRASHES: u64 = 1_000;
/// Of one disk.
const LIVES: u64 = 20;

/// The state of a store after a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Snapshot {
    revision: u64,
    values: BTreeMap<Bytes, Bytes>,
}

impl From<Loaded> for Snapshot {
    fn from(loaded: Loaded) -> Self {
        let values = loaded.items.into_iter().map(|item| (item.key, item.value));
        Self { revision: loaded.revision, values: values.collect() }
    }
}

/// One disk over several crashes, and what must be on it.
struct Run {
    disk: SimulatedDisk,
    random: fastrand::Rng,
    /// As of the latest commit that was acknowledged, or read after a crash.
    durable: Snapshot,
    /// As of a commit with an unknown outcome.
    unknown: Option<Snapshot>,
    /// What has happened, to show that the test tests something.
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    acknowledged: u64,
    unavailable: u64,
    unknown: u64,
    unknown_applied: u64,
    failed_opens: u64,
}

#[test]
fn an_acknowledged_commit_survives_a_crash_and_no_other_is_there_in_part() {
    let crashes = std::env::var("HEADCOUNT_STORE_CRASHES")
        .map_or(CRASHES, |text| text.parse().expect("HEADCOUNT_STORE_CRASHES: a number of crashes"));
    let mut seen = Seen::default();
    for seed in 0..crashes.div_ceil(LIVES) {
        let random = fastrand::Rng::with_seed(seed);
        let (durable, unknown) = (Snapshot::default(), None);
        let mut run = Run { disk: new_disk(seed), random, durable, unknown, seen };
        for life in 0..LIVES {
            run.live_and_crash(&format!("seed {seed}, life {life}"));
        }
        seen = run.seen;
    }
    println!("{crashes} crashes: {seen:?}");
    let Seen { acknowledged, unavailable, unknown, unknown_applied, failed_opens } = seen;
    let least =
        [(acknowledged, 500), (unavailable, 10), (unknown, 200), (unknown_applied, 10), (failed_opens, 50)];
    for (count, least) in least {
        assert!(count * CRASHES >= least * crashes, "{seen:?}");
    }
}

impl Run {
    fn live_and_crash(&mut self, name: &str) {
        // Every second disk also has syncs that fail.
        self.disk.set_failing_syncs(if self.random.bool() { 5 } else { 0 });
        self.disk.fail(Fault::Off, self.random.u64(0..80));
        if let Some(store) = self.open(name) {
            self.check(&store, name);
            // Each commit takes several operations of the disk.
            for _ in 0..100 {
                match (&self.unknown, self.disk.is_failing()) {
                    (_, true) => break,
                    (None, false) => self.commit(&store, name),
                    // It was not read yet, because the disk failed again.
                    (Some(_), false) => self.check(&store, name),
                }
            }
            assert!(self.disk.is_failing(), "{name}: commits do not reach the disk");
        }
        self.disk.crash();

        // Without faults, the file must open.
        self.disk.set_failing_syncs(0);
        let store = open(&self.disk).unwrap_or_else(|error| panic!("{name}: {error}"));
        self.check(&store, name);
        if self.random.bool() {
            // The disk has what was not synced, which must not matter: a reader saw it.
            self.disk.fail(Fault::Off, 0);
        }
        drop(store);
        self.disk.crash();
    }

    /// Opens the file, again after an error of the disk; none after the crash.
    fn open(&mut self, name: &str) -> Option<EmbeddedStore> {
        loop {
            match open(&self.disk) {
                Ok(store) => return Some(store),
                Err(OpenError::Io(_)) => self.seen.failed_opens += 1,
                Err(error) => panic!("{name}: {error}"),
            }
            if self.disk.is_failing() {
                return None;
            }
        }
    }

    /// Checks that the store has the commits that it must have. What it has is durable.
    fn check(&mut self, store: &EmbeddedStore, name: &str) {
        match load(store).map(Snapshot::from) {
            Ok(found) if found == self.durable => self.unknown = None,
            Ok(found) => {
                let expected = (self.durable.revision, self.unknown.as_ref().map(|unknown| unknown.revision));
                // `assert_eq!` would print the values.
                assert!(Some(&found) == self.unknown.as_ref(), "{name}: {} of {expected:?}", found.revision);
                self.seen.unknown_applied += 1;
                self.durable = found;
                self.unknown = None;
            }
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }

    fn commit(&mut self, store: &EmbeddedStore, name: &str) {
        let mut next = self.durable.clone();
        next.revision += 1;
        let writes = self.random_writes(&mut next);
        match commit(store, writes) {
            Ok(committed) => {
                assert_eq!(committed.revision, next.revision, "{name}");
                self.seen.acknowledged += 1;
                self.durable = next;
            }
            Err(StoreError::Unavailable(_)) => self.seen.unavailable += 1,
            Err(StoreError::Unknown(_)) => {
                self.seen.unknown += 1;
                self.unknown = Some(next);
            }
            Err(error) => panic!("{name}: {error}"),
        }
        self.check(store, name);
    }

    /// Writes that change something, and what they lead to.
    fn random_writes(&mut self, next: &mut Snapshot) -> Vec<Write> {
        let mut writes = Vec::new();
        for n in 0..self.random.u64(1..12) {
            let key = Bytes::from(format!("{n}/{}", self.random.u32(0..20)));
            if n > 0 && self.random.u32(0..3) == 0 {
                next.values.remove(&key);
                writes.push(Write { key, expected: Expected::Any, value: None });
            } else {
                // Large ones make the file grow.
                let large = self.random.u32(0..40) == 0;
                let length = self.random.usize(0..if large { 200_000 } else { 400 });
                let value = Bytes::from(vec![self.random.u8(..); length]);
                next.values.insert(key.clone(), value.clone());
                writes.push(put(key, value));
            }
        }
        writes
    }
}
