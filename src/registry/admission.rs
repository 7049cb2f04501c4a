//! How many may be in: bounds of what the registry keeps.

use std::{collections::HashMap, time::Duration};

use super::RegistrySettings;
use crate::{model::MeshName, runtime::sync::Mutex};

/// A limit is reached; trying again later may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Of sessions, in all meshes.
    #[error("{limit} dataplanes are connected, the most this server takes (max-sessions)")]
    Sessions {
        /// The setting.
        limit: usize,
    },
    /// Of sessions, in one mesh.
    #[error(
        "{limit} dataplanes of mesh {mesh} are connected, the most this server takes of one mesh (max-sessions-per-mesh)"
    )]
    MeshSessions {
        /// The mesh.
        mesh: MeshName,
        /// The setting.
        limit: usize,
    },
    /// Of registrations, connected or not.
    #[error("{limit} dataplanes are registered, the most this server keeps (max-dataplanes)")]
    Dataplanes {
        /// The setting.
        limit: usize,
    },
    /// Of new sessions in a second.
    #[error("more than {limit} dataplanes a second want to connect (max-session-rate)")]
    SessionRate {
        /// The setting.
        limit: usize,
        /// When to try again: everybody is told another time.
        retry_after: Duration,
    },
    /// Of watch streams.
    #[error("{limit} watchers are connected, the most this server takes (max-watchers)")]
    Watchers {
        /// The setting.
        limit: usize,
    },
}

impl Full {
    /// The setting that says how many.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Sessions { .. } => "max-sessions",
            Self::MeshSessions { .. } => "max-sessions-per-mesh",
            Self::Dataplanes { .. } => "max-dataplanes",
            Self::SessionRate { .. } => "max-session-rate",
            Self::Watchers { .. } => "max-watchers",
        }
    }

    /// All settings that a session or a watch may be refused by.
    pub const SETTINGS: [&str; 5] =
        ["max-sessions", "max-sessions-per-mesh", "max-dataplanes", "max-session-rate", "max-watchers"];
}

/// Counts for the limits only; what readers see is counted in the entries.
#[derive(Debug)]
pub(super) struct Admission {
    max_dataplanes: usize,
    max_sessions: usize,
    max_sessions_per_mesh: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    dataplanes: usize,
    sessions: usize,
    sessions_of: HashMap<MeshName, usize>,
}

impl Admission {
    pub(super) fn new(settings: &RegistrySettings) -> Self {
        Self {
            max_dataplanes: settings.max_dataplanes,
            max_sessions: settings.max_sessions,
            max_sessions_per_mesh: settings.max_sessions_per_mesh,
            inside: Mutex::default(),
        }
    }

    /// Lets in the session of a dataplane, and the dataplane if it is `new`.
    pub(super) fn enter(&self, mesh: &MeshName, new: bool) -> Result<(), Full> {
        let mut inside = self.inside.lock();
        if inside.sessions >= self.max_sessions {
            return Err(Full::Sessions { limit: self.max_sessions });
        }
        let of_mesh = inside.sessions_of.get(mesh).copied().unwrap_or_default();
        if of_mesh >= self.max_sessions_per_mesh {
            return Err(Full::MeshSessions { mesh: mesh.clone(), limit: self.max_sessions_per_mesh });
        }
        // Last, because here the oldest lost dataplane can make room.
        if new && inside.dataplanes >= self.max_dataplanes {
            return Err(Full::Dataplanes { limit: self.max_dataplanes });
        }
        inside.dataplanes += usize::from(new);
        inside.sessions += 1;
        inside.sessions_of.insert(mesh.clone(), of_mesh + 1);
        Ok(())
    }

    /// Sessions there are.
    pub(super) fn sessions(&self) -> usize {
        self.inside.lock().sessions
    }

    /// A session ended.
    pub(super) fn leave(&self, mesh: &MeshName) {
        let mut inside = self.inside.lock();
        inside.sessions -= 1;
        if let Some(count) = inside.sessions_of.get_mut(mesh) {
            *count -= 1;
            if *count == 0 {
                inside.sessions_of.remove(mesh);
            }
        }
    }

    /// A dataplane is no longer registered.
    pub(super) fn unregister(&self) {
        self.inside.lock().dataplanes -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission() -> Admission {
        let settings = RegistrySettings {
            max_dataplanes: 4,
            max_sessions: 3,
            max_sessions_per_mesh: 2,
            ..RegistrySettings::default()
        };
        Admission::new(&settings)
    }

    fn mesh(name: &str) -> MeshName {
        MeshName::parse("", name).unwrap()
    }

    #[test]
    fn each_limit_refuses_by_name_and_leaving_makes_room() {
        let admission = admission();
        let (a, b) = (mesh("a"), mesh("b"));
        admission.enter(&a, true).unwrap();
        admission.enter(&a, true).unwrap();
        assert_eq!(admission.enter(&a, true), Err(Full::MeshSessions { mesh: a.clone(), limit: 2 }));
        admission.enter(&b, true).unwrap();
        assert_eq!(admission.enter(&b, true), Err(Full::Sessions { limit: 3 }));
        admission.leave(&a);
        admission.enter(&b, true).unwrap();
        admission.leave(&a);
        assert_eq!(admission.enter(&a, true), Err(Full::Dataplanes { limit: 4 }));
        admission.enter(&a, false).unwrap();
        admission.leave(&a);
        admission.unregister();
        admission.enter(&a, true).unwrap();
    }

    #[test]
    fn an_empty_mesh_leaves_nothing_behind() {
        let admission = admission();
        admission.enter(&mesh("a"), true).unwrap();
        admission.leave(&mesh("a"));
        assert!(admission.inside.lock().sessions_of.is_empty());
    }
}
