//! How many dataplanes may be registered and connected.

use std::collections::HashMap;

use super::LimitReached;
use crate::{model::MeshName, registry::RegistrySettings, runtime::sync::Mutex};

/// Reservations of sessions and registrations. They serve the limits only; what
/// readers see is counted in the entries.
#[derive(Debug)]
pub(crate) struct Capacity {
    max_dataplanes: usize,
    max_sessions: usize,
    max_sessions_per_mesh: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    dataplanes: usize,
    sessions: usize,
    sessions_by_mesh: HashMap<MeshName, usize>,
}

impl Capacity {
    pub(crate) fn new(settings: &RegistrySettings) -> Self {
        Self {
            max_dataplanes: settings.max_dataplanes,
            max_sessions: settings.max_sessions,
            max_sessions_per_mesh: settings.max_sessions_per_mesh,
            used: Mutex::default(),
        }
    }

    /// Reserves a session, and a registration as well if the dataplane is `new`.
    ///
    /// # Errors
    ///
    /// The first limit that is reached; nothing is reserved then.
    pub(crate) fn reserve(&self, mesh: &MeshName, new: bool) -> Result<(), LimitReached> {
        let mut used = self.used.lock();
        if used.sessions >= self.max_sessions {
            return Err(LimitReached::Sessions { limit: self.max_sessions });
        }
        let in_mesh = used.sessions_by_mesh.get(mesh).copied().unwrap_or_default();
        if in_mesh >= self.max_sessions_per_mesh {
            return Err(LimitReached::MeshSessions { mesh: mesh.clone(), limit: self.max_sessions_per_mesh });
        }
        // Checked last, because the oldest lost dataplane can make room for this one.
        if new && used.dataplanes >= self.max_dataplanes {
            return Err(LimitReached::Dataplanes { limit: self.max_dataplanes });
        }
        used.dataplanes += usize::from(new);
        used.sessions += 1;
        used.sessions_by_mesh.insert(mesh.clone(), in_mesh + 1);
        Ok(())
    }

    /// The number of sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.used.lock().sessions
    }

    /// Gives the place of a session back.
    pub(crate) fn release_session(&self, mesh: &MeshName) {
        let mut used = self.used.lock();
        used.sessions -= 1;
        if let Some(count) = used.sessions_by_mesh.get_mut(mesh) {
            *count -= 1;
            if *count == 0 {
                used.sessions_by_mesh.remove(mesh);
            }
        }
    }

    /// Gives the place of a registration back.
    pub(crate) fn release_registration(&self) {
        self.used.lock().dataplanes -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity() -> Capacity {
        let settings = RegistrySettings {
            max_dataplanes: 4,
            max_sessions: 3,
            max_sessions_per_mesh: 2,
            ..RegistrySettings::default()
        };
        Capacity::new(&settings)
    }

    fn mesh(name: &str) -> MeshName {
        MeshName::parse("", name).unwrap()
    }

    #[test]
    fn each_limit_rejects_and_an_end_makes_room() {
        let capacity = capacity();
        let (a, b) = (mesh("a"), mesh("b"));
        capacity.reserve(&a, true).unwrap();
        capacity.reserve(&a, true).unwrap();
        assert_eq!(capacity.reserve(&a, true), Err(LimitReached::MeshSessions { mesh: a.clone(), limit: 2 }));
        capacity.reserve(&b, true).unwrap();
        assert_eq!(capacity.reserve(&b, true), Err(LimitReached::Sessions { limit: 3 }));
        capacity.release_session(&a);
        capacity.reserve(&b, true).unwrap();
        capacity.release_session(&a);
        assert_eq!(capacity.reserve(&a, true), Err(LimitReached::Dataplanes { limit: 4 }));
        capacity.reserve(&a, false).unwrap();
        capacity.release_session(&a);
        capacity.release_registration();
        capacity.reserve(&a, true).unwrap();
    }

    #[test]
    fn a_mesh_without_sessions_takes_no_memory() {
        let capacity = capacity();
        capacity.reserve(&mesh("a"), true).unwrap();
        capacity.release_session(&mesh("a"));
        assert!(capacity.used.lock().sessions_by_mesh.is_empty());
    }
}
