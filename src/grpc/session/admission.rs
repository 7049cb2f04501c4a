//! Session admission: what happens before a session is open, for both protocols.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{debug, warn};

use super::{StreamClient, active::ActiveSession, rejections::RejectionLimiter};
use crate::{
    access::{Action, Object, OwnedObject, RefusalReason},
    audit::{Operation, Subject},
    grpc::status::{draining, held_off, limit_reached, superseded, too_many_rejections},
    model::{Dataplane, Principal},
    net::rejection::{is_rejection, rejection},
    registry::{
        ConnectError, ConnectOptions, Connected, LimitReached, Registry, RetryBehavior, events::UnknownProxy,
    },
    telemetry::metrics::{Metrics, SessionMetrics, ShedMetrics},
};

/// The share of the session rate that rejected hellos of one address may have: a tenth.
const REJECTION_SHARE: usize = 10;

/// Admits dataplanes until `shutdown` is cancelled.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct SessionAdmission {
    registry: Registry,
    metrics: SessionMetrics,
    shed: ShedMetrics,
    rejections: RejectionLimiter,
    shutdown: CancellationToken,
}

impl SessionAdmission {
    pub(in crate::grpc) fn new(registry: Registry, metrics: &Metrics, shutdown: CancellationToken) -> Self {
        let rejections = RejectionLimiter::new(registry.max_session_rate() / REJECTION_SHARE);
        Self { registry, metrics: metrics.sessions.clone(), shed: metrics.shed.clone(), rejections, shutdown }
    }

    /// Rejects a stream before any message of it is read, if no session is admitted now, or if
    /// too many hellos from its address were rejected.
    pub(in crate::grpc) fn check_rate(
        &self,
        peer: Option<SocketAddr>,
        retry: RetryBehavior,
    ) -> Result<(), Status> {
        if let Some(peer) = peer {
            let limited = self.rejections.check(peer.ip());
            limited.map_err(|limited| too_many_rejections(&self.shed, limited.limit, limited.retry_after))?;
        }
        self.registry.check_session_rate(retry).map_err(|limit| self.rejected(&limit))
    }

    /// Waits for the first message of a stream, which the protocol calls `name`.
    pub(super) async fn first_message<T>(
        &self,
        name: &str,
        timeout: Duration,
        message: impl Future<Output = T>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(draining()),
            message = timeout_at(Instant::now() + timeout, message) => message.map_err(|_| {
                Status::deadline_exceeded(format!("no {name} within {timeout:?}: it must be the first message"))
            }),
        }
    }

    /// Opens a session if the client's credential is valid for the dataplane, and returns it with
    /// the warnings for its client.
    pub(super) async fn admit(
        &self,
        dataplane: Dataplane,
        options: ConnectOptions,
        client: &StreamClient,
    ) -> Result<(ActiveSession, Vec<String>), Status> {
        client.caller.allow(Action::RegisterDataplane, Object::Dataplane(&dataplane))?;
        let (idle_timeout, peer) = (options.idle.timeout, options.client.peer);
        let options = ConnectOptions { caller: Some(client.caller.caller().clone()), ..options };
        let key = dataplane.key.clone();
        let connected = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Err(draining()),
            connected = self.registry.connect(dataplane, options) => connected,
        };
        let Connected { session, mut warnings } = connected.map_err(|error| match error {
            ConnectError::Limit(limit) => self.rejected(&limit),
            ConnectError::Superseded => superseded(None),
            ConnectError::HeldOff { retry_after, .. } => held_off(&error, retry_after),
            ConnectError::NotOwner => {
                let (action, subject) = (Action::RegisterDataplane, Subject::Dataplane(&key));
                client.caller.refused(action, subject, RefusalReason::Mismatch, &error);
                rejection(Code::PermissionDenied, error.to_string())
            }
        })?;
        let dataplane = OwnedObject::Dataplane(Arc::clone(session.dataplane()));
        let right = client.caller.allow_live(Action::RegisterDataplane, dataplane)?;
        warnings.extend(session.dataplane().warnings());
        let (key, id) = (&session.dataplane().key, session.id());
        client.caller.done(Operation::OpenSession, Subject::Dataplane(key), &format_args!("session {id}"));
        debug!(session = %id, dataplane = %key, ?peer, "connected");
        let active = ActiveSession::new(session, idle_timeout, &client.age, right, self.metrics.clone());
        Ok((active, warnings))
    }

    /// Records an event about a proxy that shows its user no error.
    pub(super) fn record_rejection(&self, proxy: UnknownProxy, client: &StreamClient, reason: String) {
        let proxy = match client.caller.principal() {
            Principal::Dataplane(grant) => proxy.with_proven(grant),
            _ => proxy,
        };
        self.registry.record_rejection(proxy, reason);
    }

    /// Logs and counts a stream whose hello was rejected, with the proxy's name if it is known.
    pub(super) fn on_rejected(&self, peer: Option<SocketAddr>, name: Option<&str>, rejected: &Status) {
        // Access control has logged what it refuses.
        if !matches!(rejected.code(), Code::Unauthenticated | Code::PermissionDenied) {
            warn!(?peer, proxy = name, code = ?rejected.code(), reason = rejected.message(), "refused");
        }
        // A limit that is reached, or a stale attempt, is no fault of the clients of this address.
        if let Some(peer) = peer
            && is_rejection(rejected)
            && rejected.code() != Code::Aborted
        {
            self.rejections.record(peer.ip());
        }
    }

    /// Over how long the clients are to reconnect after the drain.
    pub(super) fn drain_spread(&self) -> Duration {
        self.registry.drain_spread()
    }

    fn rejected(&self, limit: &LimitReached) -> Status {
        limit_reached(&self.shed, limit)
    }
}
