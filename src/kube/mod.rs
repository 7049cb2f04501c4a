//! The Kubernetes desk: Workloads and events for kubectl and for whatever else
//! speaks Kubernetes' API. Read only, from memory; nothing is kept here.
//!
//! ```text
//! request ─► gate (who asks: access) ─► routes ─► options, accept   parsed once
//!                                         │      ▼
//!            discovery  openapi  version     workloads  events ─► list, watch ─► shown (all forms)
//!                                                ▼
//!                                             registry
//! ```

mod admission;
mod api;
mod objects;
mod protocol;
mod server;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use self::{
    api::{discovery::Documents, openapi::OpenApi},
    objects::{events, renderer::Kind, workloads},
    protocol::status::Status,
};
use crate::{
    config::KubeSettings,
    registry::{LimitReached, Registry},
    runtime::readiness::Readiness,
    telemetry::metrics::{DeliveryMetrics, KubeMetrics, Metrics, ShedMetrics},
};

pub use self::server::Kube;

/// What all handlers share.
#[derive(Debug)]
struct Desk {
    registry: Registry,
    workloads: Arc<Kind>,
    events: Arc<Kind>,
    documents: Documents,
    openapi: OpenApi,
    delivery: DeliveryMetrics,
    shed: ShedMetrics,
    requests: KubeMetrics,
    ready: Readiness,
    watch_places: Arc<Semaphore>,
    /// Whether events are served, as Kubernetes' core has them. Behind kube-apiserver
    /// the core is its own: its aggregator would take our part for the whole of it.
    serves_core: bool,
    shutdown: CancellationToken,
}

/// Of so many connections a watch may not have the last one: while all kubectls
/// watch, kube-apiserver still has to ask about Pods, and whether we are well.
const SPARED: usize = 8;

impl Desk {
    fn new(
        registry: &Registry,
        settings: &KubeSettings,
        metrics: &Metrics,
        ready: Readiness,
        shutdown: CancellationToken,
    ) -> Self {
        let (workloads, events) = (workloads::kind(&settings.group), events::kind());
        let most = settings.max_connections;
        let serves_core = settings.front_proxy().is_none();
        Self {
            registry: registry.clone(),
            documents: Documents::new(&workloads, &events, serves_core),
            openapi: OpenApi::new(&workloads, &events, serves_core),
            workloads: Arc::new(workloads),
            events: Arc::new(events),
            delivery: metrics.delivery.clone(),
            shed: metrics.shed.clone(),
            requests: metrics.kube.clone(),
            ready,
            watch_places: Arc::new(Semaphore::new(most - most / SPARED)),
            serves_core,
            shutdown,
        }
    }

    /// Sends somebody away because a limit is reached, and counts it.
    fn refuse(&self, limit: &LimitReached) -> Status {
        self.shed.shed(limit.setting());
        Status::too_many(limit.to_string())
    }

    /// A watch has a connection to itself for as long as it lasts.
    fn watch_place(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.watch_places).try_acquire_owned().map_err(|_full| {
            self.shed.shed(ShedMetrics::KUBE_CONNECTIONS);
            Status::too_many("as many watches are open as there are connections for (max-kube-connections)")
        })
    }
}
