//! Authentication: from the credential of a request to its [`Caller`].

mod json;
mod jws;
pub mod token;

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    access::{Access, Caller},
    model::AnonymousAccess,
};

/// Authenticates the requests of one listener.
#[derive(Debug, Clone)]
pub struct Authenticator {
    anonymous: Caller,
}

/// Why a request with a credential is not authenticated. The texts never contain the credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The request has a token, and the server accepts none.
    #[error("authorization: this server accepts no tokens: send none, or configure the server's keys")]
    NoTokens,
}

impl Authenticator {
    /// Callers without a credential have this access.
    pub fn new(access: &Access, anonymous: AnonymousAccess) -> Self {
        Self { anonymous: access.anonymous(anonymous) }
    }

    /// Returns the caller of a request.
    ///
    /// # Errors
    ///
    /// If the request has a credential that is not valid.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, AuthenticationError> {
        if headers.contains_key(AUTHORIZATION) {
            return Err(AuthenticationError::NoTokens);
        }
        Ok(self.anonymous.clone())
    }
}
