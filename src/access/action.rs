//! Actions, and the objects that they are done to.

use std::sync::Arc;

use crate::model::{Dataplane, MeshName, Namespace};

/// What a caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Reads the health of the server.
    CheckHealth,
    /// Reads which services and messages the server has (gRPC reflection, Kubernetes discovery).
    ReadSchema,
    /// Registers a dataplane, reports its health and unregisters it. Of a dataplane that is
    /// registered already, both the new and the registered one are checked.
    RegisterDataplane,
    /// Reads, lists, watches or waits for Workloads.
    ReadWorkloads,
    /// Lists dataplanes.
    ReadDataplanes,
    /// Reads `MeshIdentities`.
    ReadMeshIdentities,
    /// Creates, changes and deletes `MeshIdentities`.
    WriteMeshIdentities,
    /// Reads or watches events.
    ReadEvents,
    /// Reads the metrics, which name the Workloads of all meshes and namespaces.
    ReadMetrics,
    /// Copies the store, which contains private keys.
    Backup,
    /// Issues a dataplane token for a mesh.
    IssueDataplaneToken,
    /// Issues a user token.
    IssueUserToken,
    /// Adds, lists and removes signing keys, and revokes tokens.
    ManageKeys,
}

impl Action {
    /// All actions, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::CheckHealth,
        Self::ReadSchema,
        Self::RegisterDataplane,
        Self::ReadWorkloads,
        Self::ReadDataplanes,
        Self::ReadEvents,
        Self::ReadMeshIdentities,
        Self::WriteMeshIdentities,
        Self::ReadMetrics,
        Self::Backup,
        Self::IssueDataplaneToken,
        Self::IssueUserToken,
        Self::ManageKeys,
    ];

    /// The name in messages, the audit log and the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CheckHealth => "check health",
            Self::ReadSchema => "read schema",
            Self::RegisterDataplane => "register dataplane",
            Self::ReadWorkloads => "read workloads",
            Self::ReadDataplanes => "read dataplanes",
            Self::ReadEvents => "read events",
            Self::ReadMeshIdentities => "read mesh identities",
            Self::WriteMeshIdentities => "write mesh identities",
            Self::ReadMetrics => "read metrics",
            Self::Backup => "backup",
            Self::IssueDataplaneToken => "issue dataplane token",
            Self::IssueUserToken => "issue user token",
            Self::ManageKeys => "manage keys",
        }
    }
}

/// What an action is done to.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// The server as a whole.
    Server,
    /// The Workloads, dataplanes or events of a namespace and a mesh; of all, if there is none.
    Scope(Option<&'a Namespace>, Option<&'a MeshName>),
    /// A dataplane.
    Dataplane(&'a Dataplane),
}

/// An [`Object`] that a live call keeps, because its right is checked again while it lasts.
#[derive(Debug, Clone)]
pub enum OwnedObject {
    /// As [`Object::Server`].
    Server,
    /// As [`Object::Scope`].
    Scope(Option<Namespace>, Option<MeshName>),
    /// As [`Object::Dataplane`].
    Dataplane(Arc<Dataplane>),
}

impl OwnedObject {
    /// The object.
    pub fn get(&self) -> Object<'_> {
        match self {
            Self::Server => Object::Server,
            Self::Scope(namespace, mesh) => Object::Scope(namespace.as_ref(), mesh.as_ref()),
            Self::Dataplane(dataplane) => Object::Dataplane(dataplane),
        }
    }
}
