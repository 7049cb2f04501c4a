//! Authenticates requests.

use std::sync::Arc;

use http::{Extensions, HeaderMap, header::AUTHORIZATION};
use rustls::pki_types::UnixTime;

use super::{
    AccessFile, UnusableCertificate,
    certificate::{Holder, Subject},
};
use crate::{
    access::{Access, Caller, Credential, RefusalReason},
    model::{AnonymousAccess, Principal},
    net::tls::{Authority, Current, PresentedCertificates},
};

/// What the server trusts, for all listeners.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The policy, and the calls that depend on it.
    pub access: Access,
    /// The access file; none if there is no such file.
    pub(crate) file: Option<Arc<Current<AccessFile>>>,
    /// Issues client certificates; none if they are not accepted.
    pub(crate) authority: Option<Arc<Current<Authority>>>,
}

/// Authenticates the requests of one listener.
#[derive(Debug, Clone)]
pub struct Authenticator {
    trust: Trust,
    anonymous: Caller,
}

/// Why a request with a credential is not authenticated. The texts never contain the credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The request has a token, and the server accepts none.
    #[error("authorization: this server accepts no tokens: send none, or configure the server's keys")]
    NoTokens,
    /// No trusted authority has issued the certificate.
    #[error("the client has no valid certificate: {0}")]
    Unverified(String),
    /// The certificate names nobody.
    #[error(transparent)]
    Unusable(#[from] UnusableCertificate),
}

impl AuthenticationError {
    /// The reason for metrics and the audit log.
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::NoTokens | Self::Unverified(_) | Self::Unusable(_) => RefusalReason::BadCredential,
        }
    }
}

impl Trust {
    /// A server that accepts no credentials.
    pub fn nobody(access: Access) -> Self {
        Self { access, file: None, authority: None }
    }

    /// The authenticator of a listener whose callers have this access without a credential.
    pub fn listener(&self, anonymous: AnonymousAccess) -> Authenticator {
        Authenticator { trust: self.clone(), anonymous: self.access.anonymous(anonymous) }
    }

    /// Verifies a client's certificates, and returns the principal that they prove.
    fn verify(
        &self,
        authority: &Authority,
        presented: &PresentedCertificates,
    ) -> Result<(Principal, Holder), AuthenticationError> {
        let leaf = authority.verify_chain(presented, UnixTime::now());
        let leaf = leaf.map_err(|error| AuthenticationError::Unverified(error.to_string()))?;
        let holder = Holder::of(leaf)?;
        Ok((self.principal(&holder.subject)?, holder))
    }

    fn principal(&self, subject: &Subject) -> Result<Principal, UnusableCertificate> {
        match subject {
            Subject::User(user) => Ok(Principal::User(user.clone())),
            Subject::Spiffe(id) => {
                let file = self.file.as_ref().map(|file| file.get());
                let mut rules = file.iter().flat_map(|file| &file.certificates);
                let grant = rules.find_map(|rule| rule.grant(id));
                let grant = grant.ok_or_else(|| UnusableCertificate::NoRule(id.clone()))?;
                Ok(Principal::Dataplane(grant))
            }
        }
    }

    /// The caller that a client's certificates prove.
    fn certified(
        &self,
        authority: &Arc<Current<Authority>>,
        presented: &PresentedCertificates,
    ) -> Result<Caller, AuthenticationError> {
        let (principal, Holder { serial, expires, .. }) = self.verify(&authority.get(), presented)?;
        let recheck = {
            let (trust, authority) = (self.clone(), Arc::clone(authority));
            let (presented, principal) = (presented.clone(), principal.clone());
            move || match trust.verify(&authority.get(), &presented) {
                Ok((now, _)) if now == principal => Ok(()),
                Ok(_) => {
                    Err("the access file now maps the client certificate to other dataplanes".to_owned())
                }
                Err(error) => Err(error.to_string()),
            }
        };
        let credential = Credential {
            id: format!("certificate {serial}"),
            expires: Some(expires),
            recheck: Arc::new(recheck),
        };
        Ok(self.access.caller(principal, credential))
    }
}

impl Authenticator {
    /// For tests: each request without a credential is this caller's.
    #[cfg(test)]
    pub(crate) fn fixed(access: &Access, caller: Caller) -> Self {
        Self { trust: Trust::nobody(access.clone()), anonymous: caller }
    }

    /// The policy, and the calls that depend on it.
    pub fn access(&self) -> &Access {
        &self.trust.access
    }

    /// A caller without a credential.
    pub fn anonymous(&self) -> Caller {
        self.anonymous.clone()
    }

    /// Whether clients can authenticate themselves by a certificate.
    pub fn accepts_certificates(&self) -> bool {
        self.trust.authority.is_some()
    }

    /// Returns the caller of a request, whose extensions have the certificates that the client
    /// presented.
    ///
    /// # Errors
    ///
    /// If the request has a credential that is not valid.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Caller, AuthenticationError> {
        if headers.contains_key(AUTHORIZATION) {
            return Err(AuthenticationError::NoTokens);
        }
        let presented = extensions.get::<PresentedCertificates>();
        let presented = presented.filter(|presented| !presented.certificates().is_empty());
        match self.trust.authority.as_ref().zip(presented) {
            Some((authority, presented)) => self.trust.certified(authority, presented),
            None => Ok(self.anonymous.clone()),
        }
    }
}
