//! The registry: the server's only record of which dataplanes are registered, connected
//! and healthy.
//!
//! ```text
//!  hello ─► connect ─► admission (rate, capacity, history of the dataplane, throttle)
//!              │
//!              ▼
//!          transitions ─► registrations by dataplane ─► Session (dropping it is the disconnect)
//!              │ CountChange
//!              ▼
//!          counts: one entry for each workload name, with its members ─► Draft
//!                                                                          │
//!  get, list, watch, metrics ◄── queries, snapshot, watch ◄── log (revisions, latest changes)
//! ```
//!
//! It knows nothing of gRPC, HTTP or Prometheus. Every transition is synchronous code.
//! Locks are taken in the order dataplane, entry, change log, and none is held across an
//! await.

mod admission;
mod cell;
mod client;
mod connect;
mod counts;
mod dataplanes;
mod deadlines;
pub mod events;
mod journal;
mod log;
mod queries;
mod recent_cache;
mod registration;
mod restore;
mod session;
mod settings;
mod shards;
mod shared;
mod smallest;
mod snapshot;
pub mod token;
mod transitions;
mod upkeep;
mod warming;
mod watch;

use std::{sync::Arc, time::Duration};

use self::{
    events::{EventLog, Reason, Regarding, UnknownProxy},
    shared::Shared,
};

pub use self::{
    admission::{
        Account, Accounts, ClientResource, ClientShares, LimitReached, LimitsExceeded, RetryBehavior,
        SharePermit,
    },
    cell::{Notice, SessionId},
    client::Client,
    connect::{ConnectError, ConnectOptions, Connected},
    dataplanes::DataplaneView,
    deadlines::IdlePolicy,
    journal::RecordChanges,
    queries::{GroupView, Page, PageError},
    session::{ReportOutcome, Session},
    settings::RegistrySettings,
    snapshot::Snapshot,
    warming::WarmingStatus,
    watch::{Delta, DeltaBatch, Encoding, Position, WatchPermit, Watcher},
};

/// A handle on the registry; clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

impl Registry {
    /// An empty registry in a new epoch. [`Registry::run`] must be running: it wakes
    /// watchers when there are many, ends idle sessions and unregisters lost dataplanes.
    pub fn new(settings: RegistrySettings) -> Self {
        let first = settings.first_revision;
        let shared = Shared::new(settings);
        shared.log.begin_after(first);
        shared.events.begin_after(first);
        Self { shared: Arc::new(shared) }
    }

    /// Sends [`Notice::Draining`] to all open sessions, and to each that opens later.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Over how long the clients are to reconnect after the drain: the time that it takes to
    /// admit all sessions that were open when the drain began. Zero before a drain.
    pub fn drain_spread(&self) -> Duration {
        self.shared.drain_spread.get().copied().unwrap_or_default()
    }

    /// New sessions per second that are admitted; see [`RegistrySettings::max_session_rate`].
    pub fn max_session_rate(&self) -> usize {
        self.shared.settings.max_session_rate
    }

    /// Limits what each client may use of `total`; see [`RegistrySettings::max_client_share`].
    pub fn client_shares(&self, resource: ClientResource, total: usize) -> ClientShares {
        ClientShares::new(resource, total, self.shared.settings.max_client_share)
    }

    /// Records the event that a proxy was rejected.
    pub fn record_rejection(&self, proxy: UnknownProxy, message: String) {
        let now = self.shared.wall_clock();
        self.shared.events.record(Reason::DataplaneRefused, Regarding::Proxy(proxy), None, message, now);
    }

    /// The memory that registered dataplanes take, in bytes; what they share with each
    /// other counts for each of them.
    pub fn registered_bytes(&self) -> usize {
        self.shared.capacity.bytes()
    }

    /// Whether the server has restarted a moment ago and dataplanes that were connected before
    /// have not come back; none otherwise.
    pub fn warming(&self) -> Option<WarmingStatus> {
        self.shared.warming.status()
    }

    /// The recorded events.
    pub fn events(&self) -> &EventLog {
        &self.shared.events
    }

    /// Identifies this run of the server. Revisions of different epochs can't be compared.
    pub fn epoch(&self) -> &str {
        self.shared.log.epoch()
    }

    /// The latest revision.
    pub fn head(&self) -> u64 {
        self.shared.log.head()
    }

    /// Receives the latest revision after a Workload has changed. Subscribe before
    /// reading the Workloads, so that no change is missed.
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.log.subscribe()
    }
}

#[cfg(all(test, shuttle))]
mod races;
#[cfg(test)]
pub(crate) mod tests;
