//! The state that the handlers of objects share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::kind::Kind;
use crate::{
    kube::protocol::status::Status,
    registry::{Accounts, ClientResource, ClientShares, LimitReached, Registry, SharePermit},
    telemetry::metrics::{DeliveryMetrics, Metrics, ShedMetrics},
};

/// One connection in so many is reserved for requests other than watches: while all
/// kubectls watch, kube-apiserver must still reach the webhooks and the health checks.
const RESERVED_SHARE: usize = 8;

/// The state that the handlers of objects share.
#[derive(Debug)]
pub(crate) struct ApiState {
    pub(crate) registry: Registry,
    pub(crate) workloads: Arc<Kind>,
    pub(crate) events: Arc<Kind>,
    pub(crate) delivery: DeliveryMetrics,
    /// Ends all watches.
    pub(crate) shutdown: CancellationToken,
    shed: ShedMetrics,
    watch_permits: Arc<Semaphore>,
    /// How many of them each client may have.
    watch_shares: ClientShares,
}

/// A connection for a watch.
#[derive(Debug)]
pub(crate) struct WatchConnection {
    _permit: OwnedSemaphorePermit,
    _share: SharePermit,
}

impl ApiState {
    pub(crate) fn new(
        registry: &Registry,
        workloads: Arc<Kind>,
        events: Arc<Kind>,
        max_connections: usize,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) -> Self {
        let watches = max_connections - max_connections / RESERVED_SHARE;
        Self {
            registry: registry.clone(),
            workloads,
            events,
            delivery: metrics.delivery.clone(),
            shutdown,
            shed: metrics.shed.clone(),
            watch_permits: Arc::new(Semaphore::new(watches)),
            watch_shares: registry.client_shares(ClientResource::KubeWatches, watches),
        }
    }

    /// Counts a request that a limit rejects, and returns the failure to send.
    pub(crate) fn limit_reached(&self, limit: &LimitReached) -> Status {
        self.shed.shed(limit.setting());
        Status::too_many(limit.to_string())
    }

    /// Reserves a connection for a watch of a client, which occupies it until the watch ends.
    ///
    /// # Errors
    ///
    /// 429 if all connections for watches are in use, or all that one client may use.
    pub(crate) fn permit_watch_connection(&self, client: Accounts) -> Result<WatchConnection, Status> {
        let share = self.watch_shares.take(client).map_err(|limit| self.limit_reached(&limit))?;
        let permit = Arc::clone(&self.watch_permits).try_acquire_owned().map_err(|_none_left| {
            self.shed.shed(ShedMetrics::KUBE_CONNECTIONS);
            Status::too_many("all connections that watches may use are in use (max-kube-connections)")
        })?;
        Ok(WatchConnection { _permit: permit, _share: share })
    }
}
