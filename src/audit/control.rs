//! Authenticates the requests of one listener.

use http::{Extensions, HeaderMap};

use super::{
    AuditLog, AuditedCaller, Origin,
    auditor::{Attempt, Auditor, Sender},
};
use crate::{
    access::{Access, Caller, RefusalReason},
    authentication::{AuthenticationError, Authenticator, RejectedCredential},
    model::{AnonymousAccess, Principal},
    net::places::PlaceHandle,
    telemetry::metrics::{Listener, RefusedMetrics},
};

/// Authenticates the requests of one listener.
#[derive(Debug, Clone)]
pub struct AccessControl {
    authenticator: Authenticator,
    auditor: Auditor,
}

impl AccessControl {
    /// What is refused is counted in `metrics` for this listener, and recorded in `log`.
    pub fn new(
        listener: Listener,
        authenticator: Authenticator,
        metrics: RefusedMetrics,
        log: AuditLog,
    ) -> Self {
        Self { authenticator, auditor: Auditor::new(listener, metrics, log) }
    }

    /// Returns the caller of a request.
    ///
    /// # Errors
    ///
    /// If the request has a credential that is not valid. That is recorded.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<AuditedCaller, AuthenticationError> {
        let authenticated = self.authenticator.authenticate(headers, extensions);
        self.authenticated(authenticated, headers, extensions)
    }

    /// As [`AccessControl::authenticate`], but waits for the cluster's keys if the token of the request
    /// names one that is not known. Only dataplanes have such tokens.
    ///
    /// # Errors
    ///
    /// As [`AccessControl::authenticate`].
    pub async fn authenticate_call(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<AuditedCaller, AuthenticationError> {
        let authenticated = self.authenticator.authenticate_call(headers, extensions).await;
        self.authenticated(authenticated, headers, extensions)
    }

    fn authenticated(
        &self,
        authenticated: Result<Caller, RejectedCredential>,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<AuditedCaller, AuthenticationError> {
        let caller =
            authenticated.map_err(|rejected| self.rejected(&Origin::of(headers, extensions), rejected))?;
        Ok(self.accept(caller, headers, extensions))
    }

    /// The caller that a new token of a client proves, in the place of its former credential. Waits for
    /// the cluster's keys if the token names one that is not known.
    ///
    /// # Errors
    ///
    /// If the token is not valid. That is recorded.
    pub async fn renew(
        &self,
        former: &AuditedCaller,
        token: &str,
    ) -> Result<AuditedCaller, AuthenticationError> {
        let authenticated = self.authenticator.renew(token).await;
        let caller = authenticated.map_err(|rejected| self.rejected(&former.origin, rejected))?;
        Ok(AuditedCaller { caller, ..former.clone() })
    }

    /// Records that a credential is not valid, and returns why.
    fn rejected(&self, origin: &Origin, rejected: RejectedCredential) -> AuthenticationError {
        let RejectedCredential { error, id } = rejected;
        let attempt = Attempt::early(origin, Sender::Unknown(id.as_ref()));
        self.auditor.refused(attempt, error.reason(), &error);
        error
    }

    /// As [`AccessControl::authenticate`], for a request that needs no credential: one that is not
    /// valid is as good as none, and is not recorded.
    pub fn identify(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<AuditedCaller> {
        let caller = self.authenticator.authenticate(headers, extensions).ok()?;
        Some(self.accept(caller, headers, extensions))
    }

    /// The caller of a request without its credential.
    pub(crate) fn anonymous(&self, headers: &HeaderMap, extensions: &Extensions) -> AuditedCaller {
        self.accept(self.authenticator.anonymous(), headers, extensions)
    }

    /// The policy, and the calls that depend on it.
    pub(crate) fn access(&self) -> &Access {
        self.authenticator.access()
    }

    /// Whether clients can authenticate themselves by a certificate.
    pub(crate) fn accepts_certificates(&self) -> bool {
        self.authenticator.accepts_certificates()
    }

    /// The caller of a request whose credential another part of the server has verified, if there is
    /// one. Its connection then counts as authenticated.
    pub(crate) fn accept(
        &self,
        caller: Caller,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> AuditedCaller {
        let needs_none = *caller.principal() == Principal::Anonymous(AnonymousAccess::Full);
        if let Some(place) = extensions.get::<PlaceHandle>()
            && (caller.credential().is_some() || needs_none)
        {
            place.authenticated();
        }
        AuditedCaller { caller, origin: Origin::of(headers, extensions), auditor: self.auditor.clone() }
    }

    /// Records that a request was refused because its credential is not valid.
    pub(crate) fn bad_credential(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        reason: RefusalReason,
        message: &str,
    ) {
        let origin = Origin::of(headers, extensions);
        self.auditor.refused(Attempt::early(&origin, Sender::Unknown(None)), reason, &message);
    }
}
