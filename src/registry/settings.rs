//! Settings of the registry, each with the reason for its default.

use std::time::{Duration, SystemTime};

use super::admission::{LimitsExceeded, check_stored};
use crate::model::Records;

/// Settings of a [`Registry`](super::Registry).
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// How long a lost dataplane stays registered. 15 min let an operator see the loss,
    /// and a fleet that changes its names with each deployment is not counted twice for
    /// long. Zero unregisters at once.
    pub retention: Duration,
    /// Changes that the log retains. 65,536 are more than a minute of a mesh that
    /// changes 1,000 times a second, in about 15 MB.
    pub log_capacity: usize,
    /// Registered dataplanes, connected or not. Twice the sessions, because each may
    /// leave one lost registration behind.
    pub max_dataplanes: usize,
    /// Memory of all registrations in bytes, as `footprint` computes it. 512 MiB are about
    /// 170,000 usual dataplanes, or 5,000 of the largest size.
    pub max_registered_bytes: usize,
    /// Memory of the registrations of one mesh: half of all, so that a mesh out of control
    /// leaves room for the others.
    pub max_registered_bytes_per_mesh: usize,
    /// Connected dataplanes: ten times the 10,000 of a large mesh, in about 3 GB of
    /// connections.
    pub max_sessions: usize,
    /// Connected dataplanes of one mesh: half of all, so that a mesh out of control
    /// leaves room for the others.
    pub max_sessions_per_mesh: usize,
    /// Watch streams. Each is woken once for each batch of changes.
    pub max_watchers: usize,
    /// The most that one client may use of `max_sessions`, `max_dataplanes`, `max_registered_bytes`,
    /// `max_watchers` and the connections for watches of the Kubernetes API, in percent: 1 to 100.
    /// A client is a principal, and likewise an address.
    /// Half, so that one client leaves room for the others, and a cluster behind one address or
    /// with one token for all its dataplanes fits.
    pub max_client_share: usize,
    /// Workloads that the dataplanes of one client name, counted in each mesh. 10,000 are a large
    /// cluster, and take 3 MB in the metrics.
    pub max_workloads_per_client: usize,
    /// New sessions per second, with a burst of the same size. 5,000 are about what one
    /// core can do besides its other work: 10,000 proxies are back 2 s after a restart if
    /// the network allows it.
    pub max_session_rate: usize,
    /// The least time between visible changes of one dataplane's health, and between its
    /// connects. At 100 ms a proxy that flaps as fast as it can makes ten changes per
    /// second; people and load balancers do not need more. Zero admits all.
    pub flap_interval: Duration,
    /// How often a watcher without changes gets a bookmark: often enough that its resume
    /// token stays within the log.
    pub bookmark_interval: Duration,
    /// The first change gets the revision after this one. `headcount serve` sets it to
    /// the time of day, or to the revisions that earlier runs have reserved in the data
    /// directory if these are greater, so that no position in an earlier run of the server
    /// can be taken for one in this run.
    pub first_revision: u64,
    /// The time of day, for people and for stored deadlines. It may jump: a restart limits
    /// the deadlines that it restores.
    pub wall_clock: fn() -> SystemTime,
}

impl RegistrySettings {
    /// Checks that the registrations of an earlier process fit the limits, before
    /// [`Registry::restore`](super::Registry::restore), which restores all of them.
    ///
    /// # Errors
    ///
    /// If they exceed the number of dataplanes or their memory.
    pub fn check_records(&self, records: &Records) -> Result<(), LimitsExceeded> {
        check_stored(self, records)
    }
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            retention: Duration::from_mins(15),
            log_capacity: 65_536,
            max_dataplanes: 200_000,
            max_registered_bytes: 512 * 1024 * 1024,
            max_registered_bytes_per_mesh: 256 * 1024 * 1024,
            max_sessions: 100_000,
            max_sessions_per_mesh: 50_000,
            max_watchers: 10_000,
            max_client_share: 50,
            max_workloads_per_client: 10_000,
            max_session_rate: 5_000,
            flap_interval: Duration::from_millis(100),
            bookmark_interval: Duration::from_mins(1),
            first_revision: 0,
            wall_clock: SystemTime::now,
        }
    }
}
