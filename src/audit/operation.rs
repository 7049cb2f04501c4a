//! What callers do that the audit log records.

use crate::access::Action;

/// What a caller does that changes the state of the server or copies its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Registers a dataplane, or takes it over, by a session.
    OpenSession,
    /// Replaces the token of an open session.
    RenewSession,
    /// Unregisters a dataplane, with a goodbye.
    Unregister,
    /// Creates a signing key.
    CreateSigningKey,
    /// Deletes a signing key.
    DeleteSigningKey,
    /// Issues a dataplane token.
    IssueDataplaneToken,
    /// Issues a user token.
    IssueUserToken,
    /// Revokes a token.
    RevokeToken,
    /// Creates or changes a `MeshIdentity`.
    ApplyMeshIdentity,
    /// Deletes a `MeshIdentity`.
    DeleteMeshIdentity,
    /// Copies the store.
    Backup,
}

impl Operation {
    /// The action that the caller must be allowed to do.
    pub fn action(self) -> Action {
        match self {
            Self::OpenSession | Self::RenewSession | Self::Unregister => Action::RegisterDataplane,
            Self::CreateSigningKey | Self::DeleteSigningKey | Self::RevokeToken => Action::ManageKeys,
            Self::IssueDataplaneToken => Action::IssueDataplaneToken,
            Self::IssueUserToken => Action::IssueUserToken,
            Self::ApplyMeshIdentity | Self::DeleteMeshIdentity => Action::WriteMeshIdentities,
            Self::Backup => Action::Backup,
        }
    }

    /// The name in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenSession => "open session",
            Self::RenewSession => "renew session",
            Self::Unregister => "unregister",
            Self::CreateSigningKey => "create signing key",
            Self::DeleteSigningKey => "delete signing key",
            Self::IssueDataplaneToken => "issue dataplane token",
            Self::IssueUserToken => "issue user token",
            Self::RevokeToken => "revoke token",
            Self::ApplyMeshIdentity => "apply mesh identity",
            Self::DeleteMeshIdentity => "delete mesh identity",
            Self::Backup => "backup",
        }
    }
}
