//! The state that all handles of one registry share.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use dashmap::DashMap;
use tokio::sync::Semaphore;

use super::{
    RegistrySettings,
    admission::{Capacity, Histories, RateLimiter},
    counts::{Entries, Entry, LockedEntry},
    deadlines::{IdleTracker, Retention},
    events::EventLog,
    journal::Journal,
    log::{ChangeLog, Draft},
    registration::{ByKey, Registration},
    shards::SHARDS,
    snapshot::SnapshotCache,
    warming::Warming,
    watch::{BatchCache, Filters},
};
use crate::runtime::sync::atomic::{AtomicBool, AtomicU64};

/// The most held-off hellos whose streams stay open: at most 300 MB of dataplanes, which are not
/// registered and so count towards no other limit.
pub(crate) const MAX_HOLDS: usize = 1_000;

/// Lock order: a shard of `dataplanes`, entries in the order of their keys, the change
/// log or the journal. Nothing is locked under the locks of the other fields. While a value of `dataplanes` is locked the map is not used again.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: RegistrySettings,
    pub(crate) dataplanes: DashMap<ByKey, Registration>,
    pub(crate) entries: Entries,
    pub(crate) log: ChangeLog,
    pub(crate) journal: Journal,
    pub(crate) filters: Filters,
    pub(crate) batches: BatchCache,
    pub(crate) snapshots: SnapshotCache,
    pub(crate) events: EventLog,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) histories: Histories,
    pub(crate) retention: Retention,
    pub(crate) idle: IdleTracker,
    pub(crate) warming: Warming,
    pub(crate) draining: AtomicBool,
    /// Over how long the clients are to reconnect after the drain; set when it begins.
    pub(crate) drain_spread: OnceLock<Duration>,
    /// The id of the latest session.
    pub(crate) sessions: AtomicU64,
    /// The id of the latest hello.
    pub(crate) hellos: AtomicU64,
    /// Hellos that were held off.
    pub(crate) held_off: AtomicU64,
    /// Places of the held-off hellos whose streams stay open.
    pub(crate) holds: Semaphore,
}

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// By a goodbye: the registration ends as well.
    Goodbye,
    /// Without one: the registration is kept for the retention period.
    Lost,
}

impl Shared {
    pub(crate) fn new(settings: RegistrySettings) -> Self {
        Self {
            dataplanes: DashMap::with_shard_amount(SHARDS),
            entries: Entries::new(),
            log: ChangeLog::new(settings.log_capacity),
            // Each registration once, and as many that were unregistered since.
            journal: Journal::new(settings.max_dataplanes.saturating_mul(2)),
            filters: Filters::default(),
            batches: BatchCache::default(),
            snapshots: SnapshotCache::default(),
            events: EventLog::default(),
            rate_limiter: RateLimiter::new(settings.max_session_rate),
            capacity: Arc::new(Capacity::new(&settings)),
            histories: Histories::default(),
            retention: Retention::default(),
            idle: IdleTracker::new(),
            warming: Warming::default(),
            draining: AtomicBool::new(false),
            drain_spread: OnceLock::new(),
            sessions: AtomicU64::new(0),
            hellos: AtomicU64::new(0),
            held_off: AtomicU64::new(0),
            holds: Semaphore::new(MAX_HOLDS),
            settings,
        }
    }

    /// The time of day, for people. Nothing is decided by it.
    pub(crate) fn wall_clock(&self) -> SystemTime {
        (self.settings.wall_clock)()
    }

    /// Locks the entry that counts a dataplane. The caller holds the dataplane's lock, so
    /// the dataplane can't leave the entry meanwhile.
    pub(crate) fn lock_own<'a>(&'a self, entry: &'a Arc<Entry>) -> LockedEntry<'a> {
        self.entries.lock(entry).expect("an entry is retired only after its last member has left")
    }

    /// Publishes what a transition changes in its locked entries, as one transition, and
    /// stores in each entry the state that readers now see.
    pub(crate) fn commit<const N: usize>(
        &self,
        entries: [&mut LockedEntry<'_>; N],
        drafts: [Option<Draft>; N],
    ) {
        for (key, record) in drafts.iter().flatten().filter_map(Draft::record) {
            self.journal.workload(key, record);
        }
        let published = self.log.publish(drafts);
        for (entry, published) in entries.into_iter().zip(published) {
            entry.members().set_current(published);
        }
    }
}
