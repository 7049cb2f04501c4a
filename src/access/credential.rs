//! Credentials: what proves a principal.

use std::{fmt, sync::Arc, time::SystemTime};

use crate::model::{Quoted, TokenId};

/// Checks again whether a credential is valid: not revoked, its key or authority still trusted.
pub type Recheck = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What proves a principal.
#[derive(Clone)]
pub struct Credential {
    /// Identifies the credential in the audit log and in revocations.
    pub id: CredentialId,
    /// When it ends.
    pub expires: Option<SystemTime>,
    /// Called when keys, revocations or authorities have changed. The error is a reason for the
    /// caller, such as `token is revoked`.
    pub recheck: Recheck,
}

/// Identifies a credential without containing any part of it that proves something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialId {
    /// A token, by its `jti`.
    Token(TokenId),
    /// A Kubernetes `ServiceAccount` token: by its `jti`, or the uid of the Pod that it is bound to.
    ServiceAccountToken(String),
    /// A client certificate.
    Certificate {
        /// Its serial number, as openssl prints it.
        serial: String,
        /// The SPIFFE ID that it proves, if any.
        spiffe: Option<String>,
    },
    /// kube-apiserver as the front proxy, by the common name of its certificate. It has
    /// authenticated the user.
    FrontProxy(String),
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token {id}"),
            Self::ServiceAccountToken(id) => write!(f, "ServiceAccount token {id}"),
            Self::Certificate { serial, .. } => write!(f, "certificate {serial}"),
            Self::FrontProxy(name) => write!(f, "front proxy {}", Quoted(name)),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
