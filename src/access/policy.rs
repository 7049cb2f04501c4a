//! The policy: which roles users have.

use std::collections::{BTreeSet, HashMap};

use super::{Action, Object};
use crate::model::{MeshName, Namespace, User};

/// The role bindings of the configuration. A user has the rights of each one that names the user or one of
/// its groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    bindings: Vec<RoleBinding>,
    /// The positions of the bindings that name a user or a group, so that a decision does not examine
    /// those of others.
    of_users: HashMap<String, Vec<usize>>,
    of_groups: HashMap<String, Vec<usize>>,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, writes `MeshIdentities`, issues and revokes tokens, manages keys, and makes backups.
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
    /// A policy with these bindings.
    pub fn new(bindings: Vec<RoleBinding>) -> Self {
        let (mut of_users, mut of_groups) = (HashMap::new(), HashMap::new());
        for (at, binding) in bindings.iter().enumerate() {
            index(&mut of_users, &binding.users, at);
            index(&mut of_groups, &binding.groups, at);
        }
        Self { bindings, of_users, of_groups }
    }

    /// All bindings.
    pub fn bindings(&self) -> &[RoleBinding] {
        &self.bindings
    }

    /// Whether a binding of the user allows an action on an object.
    pub(super) fn allows(&self, user: &User, action: Action, object: &Object<'_>) -> bool {
        let of_user = self.of_users.get(&user.name);
        let of_groups = user.groups.iter().filter_map(|group| self.of_groups.get(group));
        of_user.into_iter().chain(of_groups).flatten().any(|at| {
            let binding = &self.bindings[*at];
            binding.role.includes(action) && binding.covers(object)
        })
    }
}

/// Adds the position of a binding to those of all names.
fn index(positions: &mut HashMap<String, Vec<usize>>, names: &BTreeSet<String>, at: usize) {
    for name in names {
        positions.entry(name.clone()).or_default().push(at);
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
            | Action::ReadMeshIdentities
            | Action::ReadMetrics => true,
            Action::WriteMeshIdentities
            | Action::Backup
            | Action::IssueDataplaneToken
            | Action::IssueUserToken
            | Action::ManageKeys => self == Self::Operator,
            // Only a dataplane's own credential registers it.
            Action::RegisterDataplane => false,
        }
    }
}

impl RoleBinding {
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
