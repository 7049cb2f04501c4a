//! The one function that decides.

use super::{Action, Object, Policy};
use crate::model::{AnonymousAccess, GrantMismatch, Principal};

/// Why a caller may not do something. The texts do not depend on what exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller has no credential, and the action needs one.
    #[error("{}: authentication is required: send a token or a client certificate", .0.as_str())]
    Unauthenticated(Action),
    /// No role of the user, or not the kind of its credential, includes the action on the object.
    #[error("{principal} has no permission to {}{scope}", .action.as_str())]
    NoPermission {
        /// The caller.
        principal: String,
        /// What it may not do.
        action: Action,
        /// To which namespace and mesh, if the request is limited to them.
        scope: String,
    },
    /// The credential is for other dataplanes.
    #[error(transparent)]
    Mismatch(#[from] GrantMismatch),
}

#[cfg(test)]
thread_local! {
    /// The decisions of this thread.
    pub(crate) static DECISIONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Decides whether a principal may do an action to an object.
///
/// # Errors
///
/// The missing permission.
pub fn allow(
    policy: &Policy,
    principal: &Principal,
    action: Action,
    object: Object<'_>,
) -> Result<(), Denied> {
    #[cfg(test)]
    DECISIONS.set(DECISIONS.get() + 1);
    let allowed = match (principal, action) {
        (Principal::Anonymous(AnonymousAccess::Full), _)
        | (Principal::Anonymous(AnonymousAccess::PublicAndMetrics), Action::ReadMetrics)
        | (_, Action::CheckHealth) => true,
        (Principal::Anonymous(_), _) => return Err(Denied::Unauthenticated(action)),
        (Principal::Dataplane(grant), Action::RegisterDataplane) => match object {
            Object::Dataplane(dataplane) => return Ok(grant.check(dataplane)?),
            // Before the hello the dataplane is not known.
            Object::Server => true,
            Object::Scope(..) => false,
        },
        (Principal::Dataplane(_), action) => action == Action::ReadSchema,
        (Principal::User(user), action) => {
            action == Action::ReadSchema || policy.allows(user, action, &object)
        }
        (Principal::ClusterUser(_), action) => matches!(
            action,
            Action::ReadSchema | Action::ReadWorkloads | Action::ReadDataplanes | Action::ReadEvents
        ),
    };
    if allowed {
        return Ok(());
    }
    Err(Denied::NoPermission { principal: principal.to_string(), action, scope: scope(object) })
}

fn scope(object: Object<'_>) -> String {
    match object {
        Object::Scope(namespace, mesh) => {
            let namespace = namespace.map(|namespace| format!("namespace {namespace}"));
            let mesh = mesh.map(|mesh| format!("mesh {mesh}"));
            let parts: Vec<_> = namespace.into_iter().chain(mesh).collect();
            if parts.is_empty() { String::new() } else { format!(" in {}", parts.join(", ")) }
        }
        Object::Server | Object::Dataplane(_) => String::new(),
    }
}
