//! Records what is refused.

use std::{fmt, sync::Arc};

use tracing::{field::display, warn};

use super::Origin;
use crate::{
    access::{Action, Caller, Object, RefusalReason},
    model::{DataplaneKey, MeshName, Namespace},
    telemetry::metrics::{Listener, RefusedMetrics},
};

/// Records what a listener refuses. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Auditor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    listener: Listener,
    metrics: RefusedMetrics,
}

/// What a caller wanted to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) origin: &'a Origin,
    /// None if the request could not be authenticated.
    pub(super) caller: Option<&'a Caller>,
    /// None if the request was refused before that was known.
    pub(super) action: Option<Action>,
    pub(super) object: Subject<'a>,
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
    pub(super) fn new(listener: Listener, metrics: RefusedMetrics) -> Self {
        Self(Arc::new(Inner { listener, metrics }))
    }

    /// Records that an attempt was refused.
    pub(super) fn refused(&self, attempt: Attempt<'_>, reason: RefusalReason, message: &dyn fmt::Display) {
        let Inner { listener, metrics } = &*self.0;
        metrics.denied(*listener, reason);
        let peer = attempt.origin.peer.map(display);
        let caller = attempt.caller.map(|caller| display(caller.principal()));
        let dataplane = match attempt.object {
            Subject::Dataplane(key) => Some(display(key)),
            Subject::Server | Subject::Scope(..) => None,
        };
        let (listener, action) = (listener.as_str(), attempt.action.map(Action::as_str));
        let request = attempt.origin.request_id.as_deref();
        warn!(listener, peer, request, caller, action, dataplane, "refused: {message}");
    }

    /// Records that a live call ended because its caller lost the right to it.
    pub(super) fn ended(&self, _attempt: Attempt<'_>, reason: RefusalReason, _message: &dyn fmt::Display) {
        let Inner { listener, metrics } = &*self.0;
        metrics.denied(*listener, reason);
    }
}
