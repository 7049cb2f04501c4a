//! What a server keeps over a restart: registrations, Workloads, the revisions that it has handed
//! out, and what operators write: keys and revocations of tokens, and `MeshIdentities`.
//!
//! ```text
//!  start    load ─► Registry::restore            revisions ─► the first revision
//!  then     registry's journal ─► writer ─► Store
//! ```
//!
//! Registrations are written behind: the registry collects changes in its journal, and the
//! writer stores them in batches. A crash loses the changes that are not stored yet: those of the
//! last 100 ms, or of a longer time if the disk is slow.

mod encode;
pub mod identities;
mod load;
mod revisions;
mod status;
pub mod tokens;
mod writer;

use tokio::{sync::Mutex, time::Instant};

use self::revisions::Reservation;
pub use self::status::{StoreState, StoreStatus};
use crate::{
    model::Records,
    registry::{LimitsExceeded, Registry, RegistrySettings},
    runtime::blocking::run_blocking,
    store::{StoreError, Stores},
};

/// Keeps the records of a registry in a store.
#[derive(Debug)]
pub struct Persistence {
    stores: Stores,
    status: StoreStatus,
    /// Locked while records are written, so that an older record is never written after a newer
    /// one.
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    reservation: Reservation,
    /// When both stores were last found to be what a later start would open.
    checked: Option<Instant>,
}

/// What a store had at the start.
#[derive(Debug)]
pub struct Loaded {
    /// Writes to the store from now on.
    pub persistence: Persistence,
    /// The records of the earlier process, for [`Registry::restore`].
    pub records: Records,
    /// A revision that is above all revisions of earlier processes.
    pub first_revision: u64,
}

/// Why a server can't start with what a store has.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More registrations are stored than the settings allow.
    #[error(transparent)]
    Limits(#[from] LimitsExceeded),
}

impl Persistence {
    /// Loads the records, and reserves the revisions after the first one of the settings, or after
    /// those of earlier processes if these are greater.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written, or if the records exceed a limit of the settings;
    /// nothing is written then. Records that can't be decoded are skipped and logged.
    pub async fn load(stores: Stores, settings: &RegistrySettings) -> Result<Loaded, LoadError> {
        let records = load::records(&*stores.registrations).await?;
        run_blocking(|| settings.check_records(&records))?;
        let reservation = Reservation::begin(&*stores.resources, settings.first_revision).await?;
        let first_revision = reservation.first;
        let status = StoreStatus::default();
        let writing = Writing { reservation, checked: None };
        let persistence = Self { stores, status, writing: Mutex::new(writing) };
        Ok(Loaded { persistence, records, first_revision })
    }

    /// The stores.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Whether records can be written, for metrics.
    pub fn status(&self) -> &StoreStatus {
        &self.status
    }

    /// Stores all pending changes of records, such as at the end of the process. Returns false if
    /// that failed; the error is logged.
    pub async fn flush(&self, registry: &Registry) -> bool {
        self.write_pending(registry).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
