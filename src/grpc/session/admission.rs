//! Session admission: what happens before a session is open, for both protocols.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, warn};

use super::active::ActiveSession;
use crate::{
    grpc::status::{draining, limit_reached},
    model::Dataplane,
    registry::{ConnectOptions, Connected, LimitReached, Registry, RetryBehavior, events::UnknownProxy},
    telemetry::metrics::{Metrics, SessionMetrics, ShedMetrics},
};

/// Admits dataplanes until `shutdown` is cancelled.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct SessionAdmission {
    registry: Registry,
    metrics: SessionMetrics,
    shed: ShedMetrics,
    shutdown: CancellationToken,
}

impl SessionAdmission {
    pub(in crate::grpc) fn new(registry: Registry, metrics: &Metrics, shutdown: CancellationToken) -> Self {
        Self { registry, metrics: metrics.sessions.clone(), shed: metrics.shed.clone(), shutdown }
    }

    /// Rejects a stream before any message of it is read, if no session is admitted now.
    pub(in crate::grpc) fn check_rate(&self, retry: RetryBehavior) -> Result<(), Status> {
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

    /// Opens a session, and returns it with the warnings for its client.
    pub(super) async fn admit(
        &self,
        dataplane: Dataplane,
        options: ConnectOptions,
        peer: Option<SocketAddr>,
    ) -> Result<(ActiveSession, Vec<String>), Status> {
        let connected = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return Err(draining()),
            connected = self.registry.connect(dataplane, options) => connected,
        };
        let Connected { session, warnings } = connected.map_err(|limit| self.rejected(&limit))?;
        debug!(session = %session.id(), dataplane = %session.dataplane().key, ?peer, "connected");
        Ok((ActiveSession::new(session, options.idle.timeout, self.metrics.clone()), warnings))
    }

    /// Records an event about a proxy that shows its user no error.
    pub(super) fn record_rejection(&self, proxy: UnknownProxy, reason: String) {
        self.registry.record_rejection(proxy, reason);
    }

    /// Over how long the clients are to reconnect after the drain.
    pub(super) fn drain_spread(&self) -> Duration {
        self.registry.drain_spread()
    }

    fn rejected(&self, limit: &LimitReached) -> Status {
        limit_reached(&self.shed, limit)
    }
}

/// Logs a rejected stream, with the proxy's name if it is known.
pub(super) fn log_rejection(peer: Option<SocketAddr>, name: Option<&str>, rejected: &Status) {
    warn!(?peer, proxy = name, code = ?rejected.code(), reason = rejected.message(), "refused");
}
