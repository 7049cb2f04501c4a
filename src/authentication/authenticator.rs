//! Authenticates requests.

use std::{sync::Arc, time::SystemTime};

use http::{Extensions, HeaderMap, header::AUTHORIZATION};
use rustls::pki_types::UnixTime;
use tokio::sync::watch;

use super::{
    AccessFile, AwaitsKey, ServiceAccountError, ServiceAccounts, UnusableCertificate,
    certificate::{Holder, Subject},
    jws::Jws,
    service_account,
    token::{Rejected, TokenError, Verifier},
};
use crate::{
    access::{Access, Caller, Credential, CredentialId, RefusalReason},
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
    /// Verifies tokens.
    pub(crate) verifier: watch::Receiver<Verifier>,
    /// Verifies `ServiceAccount` tokens.
    pub(crate) service_accounts: ServiceAccounts,
    /// The time of day, by which tokens and certificates are valid.
    pub(crate) clock: fn() -> SystemTime,
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
    #[error("authorization: this server accepts no tokens: send none, or give the server a key")]
    NoTokens,
    /// The request has several tokens, or one that is no text.
    #[error("authorization: must be one token: `Bearer TOKEN`, or the token alone")]
    NotOneToken,
    /// The token is not valid.
    #[error("authentication failed: {0}")]
    Token(#[from] TokenError),
    /// The `ServiceAccount` token is not valid.
    #[error("authentication failed: {0}")]
    ServiceAccount(#[from] ServiceAccountError),
    /// No trusted authority has issued the certificate.
    #[error("the client has no valid certificate: {0}")]
    Unverified(String),
    /// The certificate names no principal.
    #[error(transparent)]
    Unusable(#[from] UnusableCertificate),
}

/// A credential that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCredential {
    /// Why not.
    pub error: AuthenticationError,
    /// Identifies the credential, if a trusted key or authority has signed it: it has expired or was revoked,
    /// for example. Any other one has the identifier that its sender has chosen.
    pub id: Option<CredentialId>,
}

impl<E: Into<AuthenticationError>> From<E> for RejectedCredential {
    fn from(error: E) -> Self {
        Self { error: error.into(), id: None }
    }
}

impl From<Rejected> for RejectedCredential {
    fn from(Rejected { error, id }: Rejected) -> Self {
        Self { error: error.into(), id: id.map(CredentialId::Token) }
    }
}

impl AuthenticationError {
    /// The reason for metrics and the audit log.
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::Token(error) | Self::ServiceAccount(ServiceAccountError::Token(error)) => match error {
                TokenError::Expired => RefusalReason::Expired,
                TokenError::Revoked => RefusalReason::Revoked,
                _ => RefusalReason::BadCredential,
            },
            Self::NoTokens
            | Self::NotOneToken
            | Self::ServiceAccount(_)
            | Self::Unverified(_)
            | Self::Unusable(_) => RefusalReason::BadCredential,
        }
    }
}

impl Trust {
    /// A server that accepts no credentials.
    pub fn without_credentials(access: Access) -> Self {
        let (_, verifier) = watch::channel(Verifier::default());
        let service_accounts = ServiceAccounts::default();
        Self { access, file: None, authority: None, verifier, service_accounts, clock: SystemTime::now }
    }

    /// The same, and tokens, which are valid by this time of day.
    #[must_use]
    pub fn with_tokens(self, verifier: watch::Receiver<Verifier>, clock: fn() -> SystemTime) -> Self {
        Self { verifier, clock, ..self }
    }

    /// Ends live calls whose right has ended, also because keys or revocations have changed. Never
    /// returns.
    pub async fn run(self) {
        let Self { access, mut verifier, .. } = self;
        let changes = async {
            while verifier.changed().await.is_ok() {
                access.recheck();
            }
        };
        tokio::join!(changes, access.run());
    }

    /// The authenticator of a listener whose callers have this access without a credential.
    pub fn listener(&self, anonymous: AnonymousAccess) -> Authenticator {
        Authenticator { trust: self.clone(), anonymous: self.access.anonymous(anonymous) }
    }

    /// Verifies a client's certificates, and returns the holder that they name.
    fn holder(
        &self,
        authority: &Authority,
        presented: &PresentedCertificates,
    ) -> Result<Holder, AuthenticationError> {
        let leaf = authority.verify_chain(presented, unix_time((self.clock)()));
        let leaf = leaf.map_err(|error| AuthenticationError::Unverified(error.to_string()))?;
        Ok(Holder::of(leaf)?)
    }

    fn principal(&self, subject: &Subject) -> Result<Principal, UnusableCertificate> {
        let file = self.file.as_ref().map(|file| file.get()).unwrap_or_default();
        file.principal(subject)
    }

    /// The caller that a token proves.
    fn bearer(&self, token: &str) -> Result<Caller, RejectedCredential> {
        let jws = Jws::parse(token);
        if let Ok(jws) = &jws
            && let Some(claims) = service_account::Claims::parse(&jws.payload)?
        {
            return self.service_account(token, jws, &claims);
        }
        let verifier = self.verifier.borrow().clone();
        if !verifier.has_keys() {
            return Err(AuthenticationError::NoTokens.into());
        }
        let token = verifier.verify_parsed(&jws?, (self.clock)())?;
        let (principal, id, expires) =
            (token.principal(), CredentialId::Token(token.id.clone()), token.expires);
        let recheck = {
            let verifier = self.verifier.clone();
            move || verifier.borrow().recheck(&token).map_err(|error| error.to_string())
        };
        let credential = Credential { id, expires: Some(expires), recheck: Arc::new(recheck) };
        Ok(self.access.caller(principal, credential))
    }

    /// The caller that a `ServiceAccount` token proves.
    fn service_account(
        &self,
        token: &str,
        jws: &Jws<'_>,
        claims: &service_account::Claims,
    ) -> Result<Caller, RejectedCredential> {
        let accepted = self.service_accounts.accept(token, jws, claims, (self.clock)())?;
        let token = &accepted.verified;
        let id = CredentialId::ServiceAccountToken(token.label());
        let (principal, expires) = (token.principal(), token.expires);
        let recheck = {
            let (accounts, verifier) = (self.service_accounts.clone(), self.verifier.clone());
            move || -> Result<(), ServiceAccountError> {
                if let Some(id) = accepted.verified.id() {
                    verifier.borrow().check_id(id)?;
                }
                accounts.recheck(&accepted)
            }
        };
        if let Err(error) = recheck() {
            return Err(RejectedCredential { error: error.into(), id: Some(id) });
        }
        let recheck = Arc::new(move || recheck().map_err(|error| error.to_string()));
        Ok(self.access.caller(principal, Credential { id, expires: Some(expires), recheck }))
    }

    /// The caller that a client's certificates prove.
    fn certified(
        &self,
        authority: &Arc<Current<Authority>>,
        presented: &PresentedCertificates,
    ) -> Result<Caller, RejectedCredential> {
        let Holder { subject, serial, expires } = self.holder(&authority.get(), presented)?;
        let principal = self.principal(&subject);
        let spiffe = match subject {
            Subject::Spiffe(id) => Some(id),
            Subject::User(_) => None,
        };
        let id = CredentialId::Certificate { serial, spiffe };
        let principal = match principal {
            Ok(principal) => principal,
            Err(error) => return Err(RejectedCredential { error: error.into(), id: Some(id) }),
        };
        let recheck = {
            let (trust, authority) = (self.clone(), Arc::clone(authority));
            let (presented, principal) = (presented.clone(), principal.clone());
            move || {
                let holder = trust.holder(&authority.get(), &presented).map_err(|error| error.to_string())?;
                match trust.principal(&holder.subject) {
                    Ok(now) if now == principal => Ok(()),
                    Ok(_) => {
                        Err("the access file now maps the client certificate to other dataplanes".to_owned())
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
        };
        let credential = Credential { id, expires: Some(expires), recheck: Arc::new(recheck) };
        Ok(self.access.caller(principal, credential))
    }
}

impl Authenticator {
    /// For tests: each request without a credential is this caller's.
    #[cfg(test)]
    pub(crate) fn fixed(access: &Access, caller: Caller) -> Self {
        Self { trust: Trust::without_credentials(access.clone()), anonymous: caller }
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

    /// Returns the caller that a token proves.
    ///
    /// # Errors
    ///
    /// If the token is not valid.
    pub fn authenticate_token(&self, token: &str) -> Result<Caller, RejectedCredential> {
        self.trust.bearer(token)
    }

    /// As [`Authenticator::authenticate_token`], for a session whose client replaces its token. Waits for
    /// the cluster's keys if the token names one that is not known.
    ///
    /// # Errors
    ///
    /// If the token is not valid.
    pub async fn renew(&self, token: &str) -> Result<Caller, RejectedCredential> {
        self.trust.service_accounts.await_key(AwaitsKey::Session, || self.authenticate_token(token)).await
    }

    /// As [`Authenticator::authenticate`], but waits for the cluster's keys if the token of the request
    /// names one that is not known.
    ///
    /// # Errors
    ///
    /// As [`Authenticator::authenticate`].
    pub async fn authenticate_call(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Caller, RejectedCredential> {
        let authenticate = || self.authenticate(headers, extensions);
        self.trust.service_accounts.await_key(AwaitsKey::Call, authenticate).await
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
    ) -> Result<Caller, RejectedCredential> {
        if let Some(token) = token(headers)? {
            return self.trust.bearer(token);
        }
        let presented = extensions.get::<PresentedCertificates>();
        let presented = presented.filter(|presented| !presented.certificates().is_empty());
        match self.trust.authority.as_ref().zip(presented) {
            Some((authority, presented)) => self.trust.certified(authority, presented),
            None => Ok(self.anonymous.clone()),
        }
    }
}

/// The token of a request: after the scheme `Bearer` (RFC 6750), or alone as Kuma sends it.
fn token(headers: &HeaderMap) -> Result<Option<&str>, AuthenticationError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().map_err(|_| AuthenticationError::NotOneToken)?,
        (Some(_), Some(_)) => return Err(AuthenticationError::NotOneToken),
    };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim_start())),
        Some(_) => Err(AuthenticationError::NotOneToken),
        None => Ok(Some(value)),
    }
}

fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
