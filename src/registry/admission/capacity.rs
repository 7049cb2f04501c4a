//! How many dataplanes may be registered and connected, and how much memory they may take.

use std::{collections::HashMap, sync::Arc};

use super::LimitReached;
use crate::{model::MeshName, registry::RegistrySettings, runtime::sync::Mutex};

/// Reservations of sessions, registrations and their memory. They serve the limits only;
/// what readers see is counted in the entries.
#[derive(Debug)]
pub(crate) struct Capacity {
    max_dataplanes: usize,
    max_sessions: usize,
    max_sessions_per_mesh: usize,
    max_bytes: usize,
    max_bytes_per_mesh: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    all: Amounts,
    by_mesh: HashMap<MeshName, Amounts>,
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
    pub(crate) mesh: &'a MeshName,
    /// It is not registered yet.
    pub(crate) registration: bool,
    /// It has no session that this one replaces.
    pub(crate) session: bool,
    /// The memory that it takes.
    pub(crate) bytes: usize,
    /// The memory of the registration that it replaces.
    pub(crate) replaces: usize,
}

/// Memory that a dataplane takes. Its registration and all its sessions hold it, because
/// each of them holds the dataplane; the last one to end gives the memory back.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    capacity: Arc<Capacity>,
    mesh: MeshName,
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
            used: Mutex::default(),
        }
    }

    /// Reserves what a dataplane needs to connect.
    ///
    /// # Errors
    ///
    /// The first limit that is reached; nothing is reserved then.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        needed: Reservation<'_>,
    ) -> Result<Arc<MemoryPermit>, LimitReached> {
        let mut used = self.used.lock();
        self.check(&used, needed)?;
        Ok(self.take(&mut used, needed))
    }

    /// Reserves what a restored registration takes, which
    /// [`check_stored`](super::stored::check_stored) has found to be within the limits.
    pub(crate) fn restore(self: &Arc<Self>, mesh: &MeshName, bytes: usize) -> Arc<MemoryPermit> {
        let needed = Reservation { mesh, registration: true, session: false, bytes, replaces: 0 };
        self.take(&mut self.used.lock(), needed)
    }

    fn take(self: &Arc<Self>, used: &mut Used, needed: Reservation<'_>) -> Arc<MemoryPermit> {
        let Reservation { mesh, registration, session, bytes, .. } = needed;
        used.change(mesh, |amounts| {
            amounts.dataplanes += usize::from(registration);
            amounts.sessions += usize::from(session);
            amounts.bytes += bytes;
        });
        Arc::new(MemoryPermit { capacity: Arc::clone(self), mesh: mesh.clone(), bytes })
    }

    fn check(&self, used: &Used, needed: Reservation<'_>) -> Result<(), LimitReached> {
        let Reservation { mesh, registration, session, bytes, replaces } = needed;
        let in_mesh = used.by_mesh.get(mesh).copied().unwrap_or_default();
        if session && used.all.sessions >= self.max_sessions {
            return Err(LimitReached::Sessions { limit: self.max_sessions });
        }
        if session && in_mesh.sessions >= self.max_sessions_per_mesh {
            return Err(LimitReached::MeshSessions { mesh: mesh.clone(), limit: self.max_sessions_per_mesh });
        }
        // Checked last, because lost dataplanes can make room for this one.
        if registration && used.all.dataplanes >= self.max_dataplanes {
            return Err(LimitReached::Dataplanes { limit: self.max_dataplanes });
        }
        // The replaced registration is part of the sum until its session has ended.
        let exceeds = |sum: usize, limit| (sum - replaces).saturating_add(bytes) > limit;
        if exceeds(in_mesh.bytes, self.max_bytes_per_mesh) {
            let limit = self.max_bytes_per_mesh;
            return Err(LimitReached::MeshRegisteredBytes { mesh: mesh.clone(), limit });
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

    /// Gives the place of a session back.
    pub(crate) fn release_session(&self, mesh: &MeshName) {
        self.used.lock().change(mesh, |amounts| amounts.sessions -= 1);
    }

    /// Gives the place of a registration back.
    pub(crate) fn release_registration(&self, mesh: &MeshName) {
        self.used.lock().change(mesh, |amounts| amounts.dataplanes -= 1);
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
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.capacity.used.lock().change(&self.mesh, |amounts| amounts.bytes -= self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity() -> Arc<Capacity> {
        let settings = RegistrySettings {
            max_dataplanes: 4,
            max_sessions: 3,
            max_sessions_per_mesh: 2,
            max_registered_bytes: 100,
            max_registered_bytes_per_mesh: 60,
            ..RegistrySettings::default()
        };
        Arc::new(Capacity::new(&settings))
    }

    fn mesh(name: &str) -> MeshName {
        MeshName::parse("", name).unwrap()
    }

    fn new(mesh: &MeshName, bytes: usize) -> Reservation<'_> {
        Reservation { mesh, registration: true, session: true, bytes, replaces: 0 }
    }

    fn takeover(mesh: &MeshName, replaces: usize, bytes: usize) -> Reservation<'_> {
        Reservation { mesh, registration: false, session: false, bytes, replaces }
    }

    #[test]
    fn each_limit_rejects_and_an_end_makes_room() {
        let capacity = capacity();
        let (a, b) = (mesh("a"), mesh("b"));
        let mut permits = vec![capacity.reserve(new(&a, 1)).unwrap(), capacity.reserve(new(&a, 1)).unwrap()];
        let rejected = |needed| capacity.reserve(needed).unwrap_err();
        assert_eq!(rejected(new(&a, 1)), LimitReached::MeshSessions { mesh: a.clone(), limit: 2 });
        permits.push(capacity.reserve(new(&b, 1)).unwrap());
        assert_eq!(rejected(new(&b, 1)), LimitReached::Sessions { limit: 3 });
        capacity.release_session(&a);
        permits.push(capacity.reserve(new(&b, 1)).unwrap());
        capacity.release_session(&a);
        assert_eq!(rejected(new(&a, 1)), LimitReached::Dataplanes { limit: 4 });
        let known = Reservation { registration: false, ..new(&a, 1) };
        permits.push(capacity.reserve(known).unwrap());
        capacity.release_session(&a);
        capacity.release_registration(&a);
        permits.push(capacity.reserve(new(&a, 1)).unwrap());
        assert_eq!(capacity.bytes(), permits.len());
    }

    #[test]
    fn memory_is_limited_per_mesh_and_in_all() {
        let capacity = capacity();
        let (a, b) = (mesh("a"), mesh("b"));
        let rejected = |needed| capacity.reserve(needed).unwrap_err();
        let in_a = capacity.reserve(new(&a, 60)).unwrap();
        let full = LimitReached::MeshRegisteredBytes { mesh: a.clone(), limit: 60 };
        assert_eq!(rejected(new(&a, 1)), full);
        let in_b = capacity.reserve(new(&b, 40)).unwrap();
        assert_eq!(rejected(new(&b, 1)), LimitReached::RegisteredBytes { limit: 100 });
        assert_eq!(
            rejected(new(&mesh("c"), usize::MAX)),
            LimitReached::MeshRegisteredBytes { mesh: mesh("c"), limit: 60 }
        );
        drop(in_a);
        assert_eq!(capacity.bytes(), 40);
        drop(capacity.reserve(new(&a, 60)).unwrap());
        drop(in_b);
        assert_eq!(capacity.bytes(), 0);
    }

    #[test]
    fn a_takeover_of_the_same_size_is_admitted_once_until_the_older_session_has_ended() {
        let (capacity, a) = (capacity(), mesh("a"));
        let older = capacity.reserve(new(&a, 60)).unwrap();
        assert!(capacity.reserve(takeover(&a, 60, 61)).is_err());
        let newer = capacity.reserve(takeover(&a, 60, 60)).unwrap();
        assert_eq!(capacity.bytes(), 120, "both are in memory");
        assert!(capacity.reserve(takeover(&a, 60, 60)).is_err(), "a session that does not end is counted");
        drop(older);
        assert!(capacity.reserve(takeover(&a, newer.bytes(), 60)).is_ok());
    }

    #[test]
    fn a_mesh_without_dataplanes_takes_no_memory() {
        let (capacity, a) = (capacity(), mesh("a"));
        let permit = capacity.reserve(new(&a, 1)).unwrap();
        assert_eq!(capacity.meshes(), std::slice::from_ref(&a));
        capacity.release_session(&a);
        capacity.release_registration(&a);
        assert!(capacity.meshes().is_empty());
        drop(permit);
        assert!(capacity.used.lock().by_mesh.is_empty());
    }
}
