//! How many dataplanes may be registered and connected, and how much memory they may take: in all,
//! in one mesh, and of one client.

use std::{collections::HashMap, sync::Arc};

use super::{
    Accounts, LimitReached,
    usage::{ClientLimits, Usages},
};
use crate::{
    model::{Dataplane, MeshName},
    registry::RegistrySettings,
    runtime::sync::Mutex,
};

/// Reservations of sessions, registrations, their memory, and watch streams. They serve the limits
/// only; what readers see is counted in the entries.
#[derive(Debug)]
pub(crate) struct Capacity {
    max_dataplanes: usize,
    max_sessions: usize,
    max_sessions_per_mesh: usize,
    max_bytes: usize,
    max_bytes_per_mesh: usize,
    max_watchers: usize,
    client: ClientLimits,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: Amounts,
    by_mesh: HashMap<MeshName, Amounts>,
    by_client: Usages,
    watchers: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amounts {
    dataplanes: usize,
    sessions: usize,
    bytes: usize,
}

/// What a dataplane needs to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reservation<'a> {
    pub(crate) dataplane: &'a Arc<Dataplane>,
    /// Its client's.
    pub(crate) accounts: &'a Accounts,
    /// The memory that it takes.
    pub(crate) bytes: usize,
    /// None if the dataplane is not registered yet.
    pub(crate) replaces: Option<Replaced<'a>>,
}

/// The registration that a new one replaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replaced<'a> {
    pub(crate) memory: &'a MemoryPermit,
    /// Whether it has a session.
    pub(crate) connected: bool,
}

/// Memory that a dataplane takes. Its registration and all its sessions hold it, because
/// each of them holds the dataplane; the last one to end gives the memory back.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    capacity: Arc<Capacity>,
    dataplane: Arc<Dataplane>,
    /// Those of the client that has registered the dataplane.
    accounts: Accounts,
    bytes: usize,
}

impl Capacity {
    pub(crate) fn new(settings: &RegistrySettings) -> Self {
        Self {
            max_dataplanes: settings.max_dataplanes,
            max_sessions: settings.max_sessions,
            max_sessions_per_mesh: settings.max_sessions_per_mesh,
            max_bytes: settings.max_registered_bytes,
            max_bytes_per_mesh: settings.max_registered_bytes_per_mesh,
            max_watchers: settings.max_watchers,
            client: ClientLimits::new(settings),
            used: Mutex::default(),
        }
    }

    /// Checks the limits without a reservation.
    ///
    /// # Errors
    ///
    /// As [`Capacity::reserve`].
    pub(crate) fn check(&self, needed: &Reservation<'_>) -> Result<(), LimitReached> {
        self.check_used(&self.used.lock(), needed)
    }

    /// Reserves what a dataplane needs to connect. What it replaces is given back, except for its
    /// memory.
    ///
    /// # Errors
    ///
    /// The first limit that is reached; nothing is reserved then.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        needed: &Reservation<'_>,
    ) -> Result<Arc<MemoryPermit>, LimitReached> {
        let mut used = self.used.lock();
        self.check_used(&used, needed)?;
        let Reservation { dataplane, accounts, bytes, replaces } = *needed;
        let connected = replaces.is_some_and(|older| older.connected);
        used.change(&dataplane.key.mesh, |amounts| {
            amounts.dataplanes += usize::from(replaces.is_none());
            amounts.sessions += usize::from(!connected);
            amounts.bytes += bytes;
        });
        let accounts = used.by_client.share(accounts);
        used.by_client.register(&accounts, dataplane);
        used.by_client.connect(&accounts);
        used.by_client.add_bytes(&accounts, bytes);
        if let Some(Replaced { memory: older, connected }) = replaces {
            used.by_client.unregister(&older.accounts, &older.dataplane);
            if connected {
                used.by_client.disconnect(&older.accounts);
            }
        }
        Ok(self.permit(dataplane, accounts, bytes))
    }

    /// Reserves what a restored registration takes, which
    /// [`check_stored`](super::stored::check_stored) has found to be within the limits. No client is
    /// charged for it.
    pub(crate) fn restore(self: &Arc<Self>, dataplane: &Arc<Dataplane>, bytes: usize) -> Arc<MemoryPermit> {
        self.used.lock().change(&dataplane.key.mesh, |amounts| {
            amounts.dataplanes += 1;
            amounts.bytes += bytes;
        });
        self.permit(dataplane, Accounts::default(), bytes)
    }

    fn permit(
        self: &Arc<Self>,
        dataplane: &Arc<Dataplane>,
        accounts: Accounts,
        bytes: usize,
    ) -> Arc<MemoryPermit> {
        let (capacity, dataplane) = (Arc::clone(self), Arc::clone(dataplane));
        Arc::new(MemoryPermit { capacity, dataplane, accounts, bytes })
    }

    fn check_used(&self, used: &Used, needed: &Reservation<'_>) -> Result<(), LimitReached> {
        let Reservation { bytes, replaces, .. } = *needed;
        let mesh = &needed.dataplane.key.mesh;
        let in_mesh = used.by_mesh.get(mesh).copied().unwrap_or_default();
        let session = !replaces.is_some_and(|older| older.connected);
        if session && used.all.sessions >= self.max_sessions {
            return Err(LimitReached::Sessions { limit: self.max_sessions });
        }
        if session && in_mesh.sessions >= self.max_sessions_per_mesh {
            return Err(LimitReached::MeshSessions { mesh: mesh.clone(), limit: self.max_sessions_per_mesh });
        }
        used.by_client.check(&self.client, needed)?;
        // The replaced registration is part of the sum until its session has ended.
        let replaced = replaces.map_or(0, |older| older.memory.bytes);
        let exceeds = |sum: usize, limit| (sum - replaced).saturating_add(bytes) > limit;
        // From here on lost dataplanes can make room for this one: first those of its mesh only, and
        // last those of all meshes. So a client at its own limit displaces none of other meshes.
        if exceeds(in_mesh.bytes, self.max_bytes_per_mesh) {
            let limit = self.max_bytes_per_mesh;
            return Err(LimitReached::MeshRegisteredBytes { mesh: mesh.clone(), limit });
        }
        used.by_client.check_bytes(&self.client, needed)?;
        if replaces.is_none() && used.all.dataplanes >= self.max_dataplanes {
            return Err(LimitReached::Dataplanes { limit: self.max_dataplanes });
        }
        if exceeds(used.all.bytes, self.max_bytes) {
            return Err(LimitReached::RegisteredBytes { limit: self.max_bytes });
        }
        Ok(())
    }

    /// The number of sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.used.lock().all.sessions
    }

    /// The memory that is reserved, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.used.lock().all.bytes
    }

    /// The meshes that have registered dataplanes, in any order.
    pub(crate) fn meshes(&self) -> Vec<MeshName> {
        let used = self.used.lock();
        let registered = used.by_mesh.iter().filter(|(_, amounts)| amounts.dataplanes > 0);
        registered.map(|(mesh, _)| mesh.clone()).collect()
    }

    /// Gives the place of the session of a registration back.
    pub(crate) fn release_session(&self, of: &MemoryPermit) {
        let mut used = self.used.lock();
        used.change(&of.dataplane.key.mesh, |amounts| amounts.sessions -= 1);
        used.by_client.disconnect(&of.accounts);
    }

    /// Gives the place of a registration back.
    pub(crate) fn release_registration(&self, of: &MemoryPermit) {
        let mut used = self.used.lock();
        used.change(&of.dataplane.key.mesh, |amounts| amounts.dataplanes -= 1);
        used.by_client.unregister(&of.accounts, &of.dataplane);
    }

    /// Takes a watch stream of a client.
    ///
    /// # Errors
    ///
    /// [`LimitReached::Watchers`] or [`LimitReached::Client`].
    pub(crate) fn begin_watch(&self, accounts: &Accounts) -> Result<(), LimitReached> {
        let mut used = self.used.lock();
        if used.watchers >= self.max_watchers {
            return Err(LimitReached::Watchers { limit: self.max_watchers });
        }
        used.by_client.watch(&self.client, accounts)?;
        used.watchers += 1;
        Ok(())
    }

    /// Gives a watch stream back.
    pub(crate) fn end_watch(&self, accounts: &Accounts) {
        let mut used = self.used.lock();
        used.watchers -= 1;
        used.by_client.end_watch(accounts);
    }

    /// The sessions, dataplanes and bytes that all clients are charged for.
    #[cfg(test)]
    pub(crate) fn charged(&self) -> [usize; 3] {
        self.used.lock().by_client.sums()
    }

    /// The number of watch streams.
    pub(crate) fn watchers(&self) -> usize {
        self.used.lock().watchers
    }
}

impl Used {
    /// Changes the amounts of a mesh and the sums. A mesh without any takes no memory.
    fn change(&mut self, mesh: &MeshName, change: impl Fn(&mut Amounts)) {
        change(&mut self.all);
        let in_mesh = self.by_mesh.entry(mesh.clone()).or_default();
        change(in_mesh);
        if *in_mesh == Amounts::default() {
            self.by_mesh.remove(mesh);
        }
    }
}

impl MemoryPermit {
    /// The memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(super) fn dataplane(&self) -> &Dataplane {
        &self.dataplane
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        let mut used = self.capacity.used.lock();
        used.change(&self.dataplane.key.mesh, |amounts| amounts.bytes -= self.bytes);
        used.by_client.remove_bytes(&self.accounts, self.bytes);
    }
}

#[cfg(test)]
mod tests;
