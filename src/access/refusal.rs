//! Why a request is refused, as a value of few for metrics and the audit log.

use super::{Denied, Ended};

/// Why a request is refused, or a live call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The caller has no credential, and the action needs one.
    Unauthenticated,
    /// The caller's roles, or the kind of its credential, do not include the action.
    NoPermission,
    /// The credential is for other dataplanes.
    Mismatch,
    /// The credential has expired.
    Expired,
    /// The credential was revoked, or what it depends on is no longer trusted.
    Revoked,
    /// The credential is not valid.
    BadCredential,
}

impl RefusalReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::Unauthenticated,
        Self::NoPermission,
        Self::Mismatch,
        Self::Expired,
        Self::Revoked,
        Self::BadCredential,
    ];

    /// The value in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::NoPermission => "no_permission",
            Self::Mismatch => "mismatch",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::BadCredential => "bad_credential",
        }
    }
}

impl From<&Denied> for RefusalReason {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::Unauthenticated(_) => Self::Unauthenticated,
            Denied::NoPermission { .. } => Self::NoPermission,
            Denied::Mismatch(_) => Self::Mismatch,
        }
    }
}

impl From<&Ended> for RefusalReason {
    fn from(ended: &Ended) -> Self {
        match ended {
            Ended::Expired => Self::Expired,
            Ended::Revoked(_) => Self::Revoked,
            Ended::Denied(denied) => denied.into(),
        }
    }
}
