//! The caller of a request, whose refused attempts and changes are recorded.

use std::{fmt, net::SocketAddr};

use tonic::Status;

use super::{
    Operation, Origin,
    auditor::{Attempt, Auditor, Sender, Subject},
    log::Outcome,
};
use crate::{
    access::{Action, Caller, Denied, Ended, LiveCall, Object, OwnedObject, RefusalReason},
    model::Principal,
};

/// The caller of a request. Every request that a server accepts carries it as an extension.
#[derive(Debug, Clone)]
pub struct AuditedCaller {
    pub(super) caller: Caller,
    pub(super) origin: Origin,
    pub(super) auditor: Auditor,
}

impl AuditedCaller {
    /// The principal.
    pub fn principal(&self) -> &Principal {
        self.caller.principal()
    }

    /// The caller without its request.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The address of the client.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.origin.peer
    }

    /// Decides whether the caller may do an action to an object, and records a refusal.
    ///
    /// # Errors
    ///
    /// As [`Caller::allow`].
    pub fn allow(&self, action: Action, object: Object<'_>) -> Result<(), Denied> {
        self.caller.allow(action, object).inspect_err(|denied| {
            self.refused(action, object.into(), denied.into(), denied);
        })
    }

    /// As [`AuditedCaller::allow`], for a call that lasts; see [`Caller::track`].
    ///
    /// # Errors
    ///
    /// As [`Caller::allow`].
    pub fn allow_live(&self, action: Action, object: OwnedObject) -> Result<AuditedCall, Denied> {
        self.allow(action, object.get())?;
        let call = self.caller.track(action, object);
        let caller = call.right().map(|_| Box::new(self.clone()));
        Ok(AuditedCall { call, caller })
    }

    /// Whether the response to a health check may contain what only some callers may know: what
    /// they would read in the metrics. The response to others is shorter, so nothing is recorded.
    pub fn may_see_details(&self) -> bool {
        self.caller.allow(Action::ReadMetrics, Object::Server).is_ok()
    }

    /// Records that an attempt was refused for another reason than [`Denied`].
    pub fn refused(
        &self,
        action: Action,
        object: Subject<'_>,
        reason: RefusalReason,
        message: &dyn fmt::Display,
    ) {
        self.auditor.refused(self.attempt(action, object), reason, message);
    }

    /// Records that the server did what the caller asked for.
    pub(crate) fn done(&self, operation: Operation, object: Subject<'_>, message: &dyn fmt::Display) {
        let attempt = self.attempt(operation.action(), object);
        self.auditor.done(attempt, operation, &Outcome::Allowed, message);
    }

    /// Records that the caller was allowed to do something, and the server did not do it. Only the
    /// code of the status is recorded, because its message can quote what the client has sent.
    pub(crate) fn failed(&self, operation: Operation, object: Subject<'_>, status: &Status) {
        let attempt = self.attempt(operation.action(), object);
        let outcome = Outcome::Failed(format!("{:?}", status.code()));
        self.auditor.done(attempt, operation, &outcome, &"");
    }

    /// Records that a request was refused because it has no credential.
    pub(crate) fn no_credential(&self, message: &str) {
        let attempt = Attempt::early(&self.origin, Sender::Caller(&self.caller));
        self.auditor.refused(attempt, RefusalReason::Unauthenticated, &message);
    }

    fn ended(&self, action: Action, object: Subject<'_>, ended: &Ended) {
        self.auditor.ended(self.attempt(action, object), ended.into(), ended);
    }

    fn attempt<'a>(&'a self, action: Action, object: Subject<'a>) -> Attempt<'a> {
        let sender = Sender::Caller(&self.caller);
        Attempt { origin: &self.origin, sender, action: Some(action), object }
    }
}

/// A [`LiveCall`] whose end is recorded.
#[derive(Debug)]
pub struct AuditedCall {
    call: LiveCall,
    /// None if no right limits the call. Boxed, so that it adds little to the memory of each session.
    caller: Option<Box<AuditedCaller>>,
}

impl AuditedCall {
    /// As [`LiveCall::on_end`].
    pub(crate) fn on_end(&self, f: impl Fn() + Send + Sync + 'static) {
        self.call.on_end(f);
    }

    /// As [`LiveCall::has_ended`].
    pub(crate) fn has_ended(&self) -> bool {
        self.call.has_ended()
    }

    /// Waits until the call must end, records that, and returns why.
    pub async fn ended(&self) -> Ended {
        let ended = self.call.ended().await;
        if let (Some(caller), Some((action, object))) = (&self.caller, self.call.right()) {
            caller.ended(action, object.into(), &ended);
        }
        ended
    }
}
