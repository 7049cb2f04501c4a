//! The limits that can reject a session or a watch.

use std::{fmt, time::Duration};

use super::Account;
use crate::model::MeshName;

/// A limit is reached; the client may retry later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// Sessions in all meshes.
    #[error("{limit} dataplanes are connected, the most this server takes (max-sessions)")]
    Sessions {
        /// The setting.
        limit: usize,
    },
    /// Sessions in one mesh.
    #[error(
        "{limit} dataplanes of mesh {mesh} are connected, the most this server takes of one mesh (max-sessions-per-mesh)"
    )]
    MeshSessions {
        /// The mesh.
        mesh: MeshName,
        /// The setting.
        limit: usize,
    },
    /// Registrations, connected or not.
    #[error("{limit} dataplanes are registered, the most this server keeps (max-dataplanes)")]
    Dataplanes {
        /// The setting.
        limit: usize,
    },
    /// Memory of registrations.
    #[error(
        "the registered dataplanes take {limit} bytes, the most this server allows (max-registered-bytes)"
    )]
    RegisteredBytes {
        /// The setting.
        limit: usize,
    },
    /// Memory of the registrations of one mesh.
    #[error(
        "the registered dataplanes of mesh {mesh} take {limit} bytes, the most this server allows one mesh (max-registered-bytes-per-mesh)"
    )]
    MeshRegisteredBytes {
        /// The mesh.
        mesh: MeshName,
        /// The setting.
        limit: usize,
    },
    /// What one client uses: a principal, or an address.
    #[error("{account} may have {limit} {used}, the most this server allows one client ({})", used.rule())]
    Client {
        /// Which client.
        account: Account,
        /// What it uses.
        used: ClientResource,
        /// How much of it a client may use.
        limit: usize,
    },
    /// New sessions per second.
    #[error("more than {limit} dataplanes a second want to connect (max-session-rate)")]
    SessionRate {
        /// The setting.
        limit: usize,
        /// When to retry. Each client gets a delay of its own.
        retry_after: Duration,
    },
    /// Watch streams.
    #[error("{limit} watchers are connected, the most this server takes (max-watchers)")]
    Watchers {
        /// The setting.
        limit: usize,
    },
}

/// What the server allows one client to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientResource {
    /// Connected dataplanes.
    Sessions,
    /// Registered dataplanes.
    Dataplanes,
    /// Memory of registrations.
    RegisteredBytes,
    /// Workloads, each counted once for each mesh.
    Workloads,
    /// Watch streams.
    Watchers,
    /// Connections of the Kubernetes API that watch.
    KubeWatches,
}

impl ClientResource {
    /// The name of the setting that limits it.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Workloads => "max-workloads-per-client",
            _ => "max-client-share",
        }
    }

    /// Which settings the limit follows from.
    fn rule(self) -> &'static str {
        match self {
            Self::Sessions => "max-client-share of max-sessions",
            Self::Dataplanes => "max-client-share of max-dataplanes",
            Self::RegisteredBytes => "max-client-share of max-registered-bytes",
            Self::Workloads => "max-workloads-per-client",
            Self::Watchers => "max-client-share of max-watchers",
            Self::KubeWatches => "max-client-share of max-kube-connections",
        }
    }
}

impl fmt::Display for ClientResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sessions => "connected dataplanes",
            Self::Dataplanes => "registered dataplanes, connected or lost",
            Self::RegisteredBytes => "bytes of registered dataplanes",
            Self::Workloads => "workloads",
            Self::Watchers => "watchers",
            Self::KubeWatches => "watches of the Kubernetes API",
        })
    }
}

impl LimitReached {
    /// Every setting that [`LimitReached::setting`] may return.
    pub const SETTINGS: [&str; 9] = [
        "max-sessions",
        "max-sessions-per-mesh",
        "max-dataplanes",
        "max-registered-bytes",
        "max-registered-bytes-per-mesh",
        "max-session-rate",
        "max-watchers",
        ClientResource::Sessions.setting(),
        ClientResource::Workloads.setting(),
    ];

    /// The name of the setting that holds the limit.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Sessions { .. } => "max-sessions",
            Self::MeshSessions { .. } => "max-sessions-per-mesh",
            Self::Dataplanes { .. } => "max-dataplanes",
            Self::RegisteredBytes { .. } => "max-registered-bytes",
            Self::MeshRegisteredBytes { .. } => "max-registered-bytes-per-mesh",
            Self::Client { used, .. } => used.setting(),
            Self::SessionRate { .. } => "max-session-rate",
            Self::Watchers { .. } => "max-watchers",
        }
    }
}
