//! Records what is refused, and what callers change.

use std::{fmt, sync::Arc};

use tracing::{field::display, warn};

use super::{
    AuditLog, Operation, Origin,
    log::{Outcome, Record},
};
use crate::{
    access::{Action, Caller, CredentialId, Object, RefusalReason},
    model::{DataplaneKey, KeyId, KeyUse, MeshName, Namespace, ResourceKey, TokenId},
    telemetry::metrics::{Listener, RefusedMetrics},
};

/// Records what a listener refuses, and what its callers change. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Auditor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listener: Listener,
    metrics: RefusedMetrics,
    log: AuditLog,
}

/// What a caller wanted to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) origin: &'a Origin,
    pub(super) sender: Sender<'a>,
    /// None if the request was refused before that was known.
    pub(super) action: Option<Action>,
    pub(super) object: Subject<'a>,
}

/// The sender of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sender<'a> {
    /// A caller that was authenticated.
    Caller(&'a Caller),
    /// A client whose credential was rejected: the credential, if its issuer is trusted.
    Unknown(Option<&'a CredentialId>),
}

impl<'a> Attempt<'a> {
    /// A request that was refused before its action was known.
    pub(super) fn early(origin: &'a Origin, sender: Sender<'a>) -> Self {
        Self { origin, sender, action: None, object: Subject::Server }
    }
}

/// What an attempt is about: an [`Object`], as the audit log names it.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// The server as a whole.
    Server,
    /// A namespace and a mesh; all, if there is none.
    Scope(Option<&'a Namespace>, Option<&'a MeshName>),
    /// A dataplane.
    Dataplane(&'a DataplaneKey),
    /// A signing key.
    SigningKey(&'a KeyUse, &'a KeyId),
    /// A token, by its identifier.
    Token(&'a TokenId),
    /// A `MeshIdentity`.
    MeshIdentity(&'a ResourceKey),
}

impl<'a> From<Object<'a>> for Subject<'a> {
    fn from(object: Object<'a>) -> Self {
        match object {
            Object::Server => Self::Server,
            Object::Scope(namespace, mesh) => Self::Scope(namespace, mesh),
            Object::Dataplane(dataplane) => Self::Dataplane(&dataplane.key),
        }
    }
}

impl Auditor {
    pub(super) fn new(listener: Listener, metrics: RefusedMetrics, log: AuditLog) -> Self {
        Self(Arc::new(Inner { listener, metrics, log }))
    }

    /// Records that an attempt was refused.
    pub(super) fn refused(&self, attempt: Attempt<'_>, reason: RefusalReason, message: &dyn fmt::Display) {
        let Inner { listener, metrics, log } = &*self.0;
        metrics.denied(*listener, reason);
        let address = attempt.origin.peer.map(|peer| peer.ip());
        log.refused(address, reason, || self.record(attempt, &Outcome::Refused(reason), message));
        let peer = attempt.origin.peer.map(display);
        let (caller, credential) = match attempt.sender {
            Sender::Caller(caller) => (Some(display(caller.principal())), None),
            Sender::Unknown(credential) => (None, credential.map(display)),
        };
        let dataplane = match attempt.object {
            Subject::Dataplane(key) => Some(display(key)),
            _ => None,
        };
        let (listener, action) = (listener.as_str(), attempt.action.map(Action::as_str));
        let request = display(&attempt.origin.request_id);
        warn!(listener, peer, request, caller, credential, action, dataplane, "refused: {message}");
    }

    /// Records that a live call ended because its caller lost the right to it.
    pub(super) fn ended(&self, attempt: Attempt<'_>, reason: RefusalReason, message: &dyn fmt::Display) {
        let Inner { listener, metrics, log } = &*self.0;
        metrics.denied(*listener, reason);
        log.record(|| self.record(attempt, &Outcome::Ended(reason), message));
    }

    /// Records that the server did what an operation asked for, or failed to.
    pub(super) fn done(
        &self,
        attempt: Attempt<'_>,
        operation: Operation,
        outcome: &Outcome,
        message: &dyn fmt::Display,
    ) {
        self.0.log.record(|| self.record(attempt, outcome, message).operation(operation));
    }

    fn record<'a>(&self, attempt: Attempt<'a>, outcome: &Outcome, message: &dyn fmt::Display) -> Record<'a> {
        let Attempt { origin, sender, action, object } = attempt;
        let record = Record::new(outcome, message).origin(self.0.listener, origin);
        let record = match sender {
            Sender::Caller(caller) => record.caller(caller),
            Sender::Unknown(Some(credential)) => record.credential(Some(credential)),
            Sender::Unknown(None) => record,
        };
        match action {
            Some(action) => record.action(action).object(object),
            None => record,
        }
    }
}
