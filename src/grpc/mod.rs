//! The gRPC desks: they speak protobuf to the street and types to the vault.

mod connections;
mod dataplane;
mod envoy;
mod event;
mod incoming;
mod managed;
mod observe;
mod reception;
mod session;
mod status;
mod until;
mod workload;

use std::{future::Future, net::SocketAddr, pin::pin, sync::Arc};

use axum::{Router, middleware::map_response};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Layer as _;

use self::{
    dataplane::Dataplanes,
    envoy::Envoys,
    event::Events,
    observe::{Observe, Observed},
    reception::Reception,
    until::Until,
    workload::Workloads,
};
use crate::{
    config::Limits,
    envoy::checks::CheckSettings,
    proto::{
        DESCRIPTORS,
        envoy::service::health::v3::server::health_discovery_service_server::{
            HealthDiscoveryServiceServer, SERVICE_NAME as HEALTH_DISCOVERY_SERVICE,
        },
        server::{
            dataplane_service_server::{DataplaneServiceServer, SERVICE_NAME as DATAPLANE_SERVICE},
            event_service_server::{EventServiceServer, SERVICE_NAME as EVENT_SERVICE},
            workload_service_server::{SERVICE_NAME as WORKLOAD_SERVICE, WorkloadServiceServer},
        },
    },
    registry::Registry,
    telemetry::metrics::{Metrics, ShedMetrics},};

/// All that is served, and what a health check of the whole server asks for.
const SERVICES: [&str; 5] =
    ["", DATAPLANE_SERVICE, WORKLOAD_SERVICE, EVENT_SERVICE, HEALTH_DISCOVERY_SERVICE];

/// Items of one page: what was asked for, within limits.
fn page_size(asked: u32) -> usize {
    match asked {
        0 => 500,
        asked => asked.min(1_000) as usize,
    }
}

/// The gRPC server, ready to be given connections.
#[derive(Debug)]
pub struct Grpc {
    registry: Registry,
    routes: Observed<Router>,
    shed: ShedMetrics,
    health: HealthReporter,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
}

impl Grpc {
    /// Sets up all services. Nobody is served, and health says `NOT_SERVING`.
    pub async fn new(
        registry: &Registry,
        limits: Limits,
        checks: CheckSettings,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let limits = Arc::new(limits);
        let most = limits.max_message_bytes;
        let reception = Reception::new(registry.clone(), metrics, shutdown.clone());
        let dataplanes = Dataplanes { reception: reception.clone(), limits: Arc::clone(&limits) };
        let envoys = Envoys { reception, limits: Arc::clone(&limits), checks };
        let workloads = Workloads::new(registry.clone(), metrics, shutdown.clone());
        let events = Events::new(registry.clone(), metrics, shutdown.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        let health_service = health_service.max_decoding_message_size(most);
        set_health(&health, ServingStatus::NotServing).await;

        // Streams of these two know no shutdown, so they are ended from outside.
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes = Routes::new(DataplaneServiceServer::new(dataplanes).max_decoding_message_size(most))
            .add_service(WorkloadServiceServer::new(workloads).max_decoding_message_size(most))
            .add_service(EventServiceServer::new(events).max_decoding_message_size(most))
            .add_service(
                HealthDiscoveryServiceServer::new(envoys)
                    .max_decoding_message_size(limits.max_envoy_message_bytes),
            )
            .add_service(Until::new(health_service, shutdown.clone()))
            .add_service(Until::new(
                reflection().build_v1()?.max_decoding_message_size(most),
                shutdown.clone(),
            ))
            .add_service(Until::new(
                reflection().build_v1alpha()?.max_decoding_message_size(most),
                shutdown.clone(),
            ));
        let routes = managed::refuse_writes(routes).into_axum_router();
        let routes = routes.layer(map_response(status::mend));
        let descriptors = [
            DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let routes = Observe::new(&descriptors, metrics.calls.clone())?.layer(routes);
        Ok(Self { registry: registry.clone(), routes, shed: metrics.shed.clone(), health, limits, shutdown })
    }

    /// The handle by which the app says whether it serves.
    pub fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// Serves what arrives, until shutdown is cancelled and every stream has
    /// ended. Where the connections come from is the caller's affair: they need
    /// be no sockets.
    pub fn serve<S, Io>(self, arrivals: S) -> impl Future<Output = ()> + Send + use<S, Io>
    where
        S: Stream<Item = (Io, SocketAddr)> + Send + 'static,
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let incoming = incoming::incoming(arrivals, &self.limits, self.shed);
        let serving = connections::serve(incoming, self.routes, self.limits, self.shutdown.clone());
        async move {
            let mut serving = pin!(serving);
            tokio::select! {
                () = &mut serving => return,
                () = self.shutdown.cancelled() => self.registry.drain(),
            }
            serving.await;
        }
    }
}

/// Says the same of every service.
pub async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}
