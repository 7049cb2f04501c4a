//! The gRPC API.
//!
//! ```text
//! accepted socket ─► connection (preface, HTTP/2, call metrics) ─► session  streams of dataplanes
//!                                                                └► service  unary calls and watches
//! ```

mod access;
mod connection;
mod service;
mod session;
mod status;
#[cfg(test)]
mod tests;

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc};

use axum::{
    Router,
    middleware::{from_fn_with_state, map_response},
};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Layer as _;

use self::{
    connection::{CallObserver, Observed, RequestRules, UntilEnd, check_request, plaintext},
    service::{Backups, Dataplanes, Events, Identities, Tokens, Workloads},
    session::{Envoys, SessionAdmission},
};
use crate::{
    audit::AccessControl,
    config::Limits,
    envoy::checks::CheckSettings,
    net::places::{PlaceLimits, Places},
    net::tls::{PresentedCertificates, Tls},
    persistence::{identities::MeshIdentities, tokens::TokenKeys},
    proto::{
        DESCRIPTORS,
        envoy::service::health::v3::server::health_discovery_service_server::{
            HealthDiscoveryServiceServer, SERVICE_NAME as HEALTH_DISCOVERY_SERVICE,
        },
        server::{
            backup_service_server::{BackupServiceServer, SERVICE_NAME as BACKUP_SERVICE},
            dataplane_service_server::{DataplaneServiceServer, SERVICE_NAME as DATAPLANE_SERVICE},
            event_service_server::{EventServiceServer, SERVICE_NAME as EVENT_SERVICE},
            mesh_identity_service_server::{
                MeshIdentityServiceServer, SERVICE_NAME as MESH_IDENTITY_SERVICE,
            },
            token_service_server::{SERVICE_NAME as TOKEN_SERVICE, TokenServiceServer},
            workload_service_server::{SERVICE_NAME as WORKLOAD_SERVICE, WorkloadServiceServer},
        },
    },
    registry::Registry,
    store::Stores,
    telemetry::metrics::{ConnectionMetrics, Listener, Metrics, ShedMetrics},
};

/// The services whose health is reported; the empty name is the whole server.
const SERVICES: [&str; 8] = [
    "",
    DATAPLANE_SERVICE,
    WORKLOAD_SERVICE,
    EVENT_SERVICE,
    MESH_IDENTITY_SERVICE,
    BACKUP_SERVICE,
    TOKEN_SERVICE,
    HEALTH_DISCOVERY_SERVICE,
];

/// What determines the callers of calls, what signs their tokens, and what gives dataplanes their identities.
#[derive(Debug)]
pub struct GrpcAccess {
    /// Determines the caller of each call.
    pub control: AccessControl,
    /// Sign tokens.
    pub keys: Arc<TokenKeys>,
    /// Give dataplanes their SPIFFE IDs.
    pub identities: Arc<MeshIdentities>,
}

/// The gRPC server, ready to be given connections.
#[derive(Debug)]
pub struct Grpc {
    registry: Registry,
    routes: Observed<Router>,
    connections: ConnectionMetrics,
    shed: ShedMetrics,
    health: HealthReporter,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
}

impl Grpc {
    /// Sets up all services. Their health is `NOT_SERVING` until [`set_health`]. Without `stores`,
    /// which a server without a data directory does not have, calls for a backup or a new key are
    /// rejected. `access` determines the caller of each call.
    ///
    /// # Errors
    ///
    /// If an embedded descriptor set can't be decoded.
    pub async fn new(
        registry: &Registry,
        stores: Option<Stores>,
        limits: Limits,
        checks: CheckSettings,
        access: GrpcAccess,
        metrics: &Metrics,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let limits = Arc::new(limits);
        let max_bytes = limits.max_message_bytes;
        let admission = SessionAdmission::new(registry.clone(), metrics, shutdown.clone());
        let identities = Arc::clone(&access.identities);
        let dataplanes =
            Dataplanes::new(registry.clone(), admission.clone(), Arc::clone(&limits), identities);
        let envoys = Envoys { admission, limits: Arc::clone(&limits), checks };
        let workloads = Workloads::new(registry.clone(), metrics, shutdown.clone());
        let events = Events::new(registry.clone(), metrics, shutdown.clone());
        let tokens = Tokens::new(access.keys, stores.is_some());
        let identities = Identities::new(access.identities, stores.is_some());
        let backups = Backups::new(stores, shutdown.clone());
        let (health, health_service) = tonic_health::server::health_reporter();
        let health_service = health_service.max_decoding_message_size(max_bytes);
        set_health(&health, ServingStatus::NotServing).await;

        // The streams of health and reflection have no shutdown of their own.
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes =
            Routes::new(DataplaneServiceServer::new(dataplanes).max_decoding_message_size(max_bytes))
                .add_service(WorkloadServiceServer::new(workloads).max_decoding_message_size(max_bytes))
                .add_service(EventServiceServer::new(events).max_decoding_message_size(max_bytes))
                .add_service(BackupServiceServer::new(backups).max_decoding_message_size(max_bytes))
                .add_service(MeshIdentityServiceServer::new(identities).max_decoding_message_size(max_bytes))
                .add_service(TokenServiceServer::new(tokens).max_decoding_message_size(max_bytes))
                .add_service(
                    HealthDiscoveryServiceServer::new(envoys)
                        .max_decoding_message_size(limits.max_envoy_message_bytes),
                )
                .add_service(UntilEnd::new(health_service, shutdown.clone()))
                .add_service(UntilEnd::new(
                    reflection().build_v1()?.max_decoding_message_size(max_bytes),
                    shutdown.clone(),
                ))
                .add_service(UntilEnd::new(
                    reflection().build_v1alpha()?.max_decoding_message_size(max_bytes),
                    shutdown.clone(),
                ));
        let routes = service::reject_writes(routes).into_axum_router();
        let routes = routes.layer(map_response(status::correct_malformed));
        let routes = routes.layer(from_fn_with_state(Arc::new(access.control), access::authenticate));
        let descriptors = [
            DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let observer = CallObserver::new(&descriptors, metrics.calls.clone())?;
        let rules =
            RequestRules { one_message: observer.one_message_methods(), timeout: limits.hello_timeout };
        let routes = routes.layer(from_fn_with_state(Arc::new(rules), check_request));
        let routes = observer.layer(routes);
        Ok(Self {
            registry: registry.clone(),
            routes,
            connections: metrics.connections.clone(),
            shed: metrics.shed.clone(),
            health,
            limits,
            shutdown,
        })
    }

    /// The handle that sets the health of the services.
    pub fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// Serves accepted connections, which need not be sockets, without TLS, until `shutdown` is
    /// cancelled and every stream has ended.
    pub fn serve<S, Io>(self, accepted: S) -> impl Future<Output = ()> + Send + use<S, Io>
    where
        S: Stream<Item = (Io, SocketAddr)> + Send + 'static,
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_with(accepted, plaintext)
    }

    /// As [`Grpc::serve`], with TLS.
    pub(crate) fn serve_tls<S, Io>(
        self,
        accepted: S,
        tls: Tls,
    ) -> impl Future<Output = ()> + Send + use<S, Io>
    where
        S: Stream<Item = (Io, SocketAddr)> + Send + 'static,
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_with(accepted, move |io, peer| tls.clone().accept(io, peer))
    }

    fn serve_with<S, Io, Handshake, Shaken, Transport>(
        self,
        accepted: S,
        handshake: Handshake,
    ) -> impl Future<Output = ()> + Send + use<S, Io, Handshake, Shaken, Transport>
    where
        S: Stream<Item = (Io, SocketAddr)> + Send + 'static,
        Io: Send + 'static,
        Handshake: Fn(Io, SocketAddr) -> Shaken + Send + 'static,
        Shaken: Future<Output = io::Result<(Transport, PresentedCertificates)>> + Send + 'static,
        Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let places = PlaceLimits {
            total: self.limits.max_connections,
            per_address: self.limits.max_connections_per_address,
            unauthenticated_rate: self.limits.max_unauthenticated_connection_rate,
        };
        let places = Places::new(places, self.connections.of_listener(Listener::Grpc));
        let timeout = self.limits.hello_timeout;
        let connections = connection::with_preface(accepted, handshake, places.clone(), timeout, self.shed);
        let serving = connection::serve(connections, places, self.routes, self.limits, self.shutdown.clone());
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

/// Sets the health of every service.
pub async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}
