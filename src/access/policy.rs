//! The policy: which roles users have.

use std::collections::BTreeSet;

use super::{Action, Object};
use crate::model::{MeshName, Namespace, User};

/// The role bindings of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// All bindings. A user has the rights of each one that names the user or one of its groups.
    pub bindings: Vec<RoleBinding>,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, issues and revokes tokens, manages keys, and makes backups.
    Operator,
}

/// Gives a role to users and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleBinding {
    /// The role.
    pub role: Role,
    /// Names of users.
    pub users: BTreeSet<String>,
    /// Names of groups.
    pub groups: BTreeSet<String>,
    /// Namespaces to which the role is limited; empty if it is not.
    pub namespaces: BTreeSet<Namespace>,
    /// Meshes to which the role is limited; empty if it is not.
    pub meshes: BTreeSet<MeshName>,
}

impl Policy {
    /// Whether a binding of the user allows an action on an object.
    pub(super) fn allows(&self, user: &User, action: Action, object: &Object<'_>) -> bool {
        self.bindings
            .iter()
            .any(|binding| binding.names(user) && binding.role.includes(action) && binding.covers(object))
    }
}

impl Role {
    fn includes(self, action: Action) -> bool {
        match action {
            Action::CheckHealth
            | Action::ReadSchema
            | Action::ReadWorkloads
            | Action::ReadDataplanes
            | Action::ReadEvents
            | Action::ReadMetrics => true,
            Action::Backup | Action::IssueDataplaneToken | Action::IssueUserToken | Action::ManageKeys => {
                self == Self::Operator
            }
            // Only a dataplane's own credential registers it.
            Action::RegisterDataplane => false,
        }
    }
}

impl RoleBinding {
    fn names(&self, user: &User) -> bool {
        self.users.contains(&user.name) || user.groups.iter().any(|group| self.groups.contains(group))
    }

    /// Whether all of an object is within the namespaces and meshes of the binding.
    fn covers(&self, object: &Object<'_>) -> bool {
        let (namespace, mesh) = match object {
            Object::Server => (None, None),
            Object::Scope(namespace, mesh) => (*namespace, *mesh),
            Object::Dataplane(dataplane) => (Some(&dataplane.key.namespace), Some(&dataplane.key.mesh)),
        };
        within(&self.namespaces, namespace) && within(&self.meshes, mesh)
    }
}

/// Whether a limit allows a value; one that is absent means all.
fn within<T: Ord>(limit: &BTreeSet<T>, value: Option<&T>) -> bool {
    limit.is_empty() || value.is_some_and(|value| limit.contains(value))
}
