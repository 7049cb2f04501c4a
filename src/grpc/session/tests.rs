//! Sessions and watches of the whole gRPC server, over connections in memory.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::*;
use crate::{
    access::{Access, DECISIONS, Policy, Role, RoleBinding},
    audit::AuditLog,
    authentication::{
        Trust,
        token::{Claims, SigningKey, Subject, VerificationKey, issue},
    },
    config::Limits,
    convert,
    envoy::checks::CheckSettings,
    grpc::{Grpc, GrpcAccess},
    model::{AnonymousAccess, DataplaneGrant, KeyAlgorithm, KeyId, KeyUse, MeshName, User},
    net::client::{Connection, ServerEndpoint},
    persistence::{identities::MeshIdentities, tokens::TokenKeys},
    proto::{
        HealthReport, HealthState, Hello, InboundHealth, SessionRequest, SessionResponse,
        WatchWorkloadsRequest, WatchWorkloadsResponse, dataplane_service_client::DataplaneServiceClient,
        session_request::Message as ToServer, session_response::Message as FromServer,
        workload_service_client::WorkloadServiceClient,
    },
    registry::{Registry, RegistrySettings, tests::dataplane},
    store::MemoryStore,
    telemetry::metrics::{Listener, Metrics},
};

/// A connection of a client to a server that accepts tokens of one key only.
struct Fixture {
    connection: Connection,
    key: SigningKey,
}

impl Fixture {
    async fn new() -> Self {
        let key = SigningKey::generate(KeyAlgorithm::EdDsa).unwrap();
        let keys = TokenKeys::load(Arc::new(MemoryStore::new()), SystemTime::now()).await.unwrap();
        let trusted = [KeyUse::AllMeshes, KeyUse::Users];
        let trusted = trusted.map(|usage| VerificationKey { id: kid(), usage, key: key.public_key() });
        keys.trust(trusted.to_vec()).await.unwrap();

        let settings = RegistrySettings { flap_interval: Duration::ZERO, ..RegistrySettings::default() };
        let registry = Registry::new(settings);
        let metrics = Metrics::new(&registry).unwrap();
        let viewers = RoleBinding {
            role: Role::Viewer,
            users: ["alice".to_owned()].into(),
            groups: [].into(),
            namespaces: [].into(),
            meshes: [].into(),
        };
        let access = Access::new(Policy::new(vec![viewers]), SystemTime::now);
        let trust = Trust::without_credentials(access).with_tokens(keys.verifier(), SystemTime::now);
        let control = AccessControl::new(
            Listener::Grpc,
            trust.listener(AnonymousAccess::Public),
            metrics.refused.clone(),
            AuditLog::default(),
        );
        let identities = MeshIdentities::load(Arc::new(MemoryStore::new())).await.unwrap();
        let access = GrpcAccess { control, keys: Arc::new(keys), identities: Arc::new(identities) };
        let (limits, checks, shutdown) =
            (Limits::default(), CheckSettings::default(), CancellationToken::new());
        let grpc = Grpc::new(&registry, None, limits, checks, access, &metrics, shutdown).await.unwrap();

        let (client, server) = tokio::io::duplex(64 * 1024);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        tokio::spawn(grpc.serve(stream::iter([(server, peer)]).chain(stream::pending())));
        tokio::spawn(trust.run());
        tokio::spawn(async move { registry.run().await });
        let mut client = Some(TokioIo::new(client));
        let connector = tower::service_fn(move |_| {
            std::future::ready(client.take().ok_or_else(|| io::Error::other("connected before")))
        });
        let endpoint = ServerEndpoint::plaintext("http://test").unwrap();
        let channel = endpoint.http2().connect_with_connector(connector).await.unwrap();
        Self { connection: channel.into(), key }
    }

    /// The connection with a token.
    fn as_caller(&self, subject: Subject) -> Connection {
        let claims = Claims::new(subject, SystemTime::now(), Duration::from_hours(1));
        let token = issue(&claims, &kid(), &self.key).unwrap();
        self.connection.clone().with_tokens(watch::channel(token).1)
    }

    async fn connect(&self) -> Proxy {
        let mesh = MeshName::parse("mesh", "default").ok();
        let grant = DataplaneGrant { mesh, ..DataplaneGrant::unrestricted(Proof::Token) };
        let mut client = DataplaneServiceClient::new(self.as_caller(Subject::Dataplane(grant)));
        let (requests, receiver) = mpsc::channel(1);
        let hello = Hello {
            dataplane: Some(convert::dataplane_to_proto(&dataplane("web-1", "web"))),
            ..Hello::default()
        };
        requests.send(SessionRequest { message: Some(ToServer::Hello(hello)) }).await.unwrap();
        let responses = client.session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        let mut proxy = Proxy { requests, responses };
        assert!(matches!(proxy.next().await, FromServer::Welcome(_)));
        proxy
    }

    /// Watches all Workloads, and reads the first message.
    async fn watch(&self) -> Streaming<WatchWorkloadsResponse> {
        let alice = User { name: "alice".into(), groups: Vec::new() };
        let mut client = WorkloadServiceClient::new(self.as_caller(Subject::User(alice)));
        let responses = client.watch_workloads(WatchWorkloadsRequest::default()).await;
        let mut responses = responses.unwrap().into_inner();
        responses.message().await.unwrap().unwrap();
        responses
    }
}

fn kid() -> KeyId {
    KeyId::parse("kid", "1").unwrap()
}

/// A dataplane with an open session.
struct Proxy {
    requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
}

impl Proxy {
    async fn next(&mut self) -> FromServer {
        self.responses.message().await.unwrap().unwrap().message.unwrap()
    }

    /// Reports whether it is ready, and waits for the ack.
    async fn report(&mut self, sequence: u64, state: HealthState) {
        let report = HealthReport {
            sequence,
            proxy: HealthState::Ready.into(),
            inbounds: vec![InboundHealth { port: 80, state: state.into() }],
        };
        self.requests.send(SessionRequest { message: Some(ToServer::Health(report)) }).await.unwrap();
        let FromServer::Ack(ack) = self.next().await else { panic!("no ack of {sequence}") };
        assert_eq!(ack.sequence, sequence);
    }
}

/// Rights are decided at the start of a call, and when they may have changed.
#[tokio::test]
async fn a_report_and_its_delta_need_no_decision_about_rights() {
    let server = Fixture::new().await;
    let before = DECISIONS.get();
    let (mut proxy, mut watch) = (server.connect().await, server.watch().await);
    let opened = DECISIONS.get();
    assert!(opened >= before + 2, "the session and the watch are decided about: {before}, {opened}");
    for sequence in 1..=20 {
        let state = if sequence % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
        proxy.report(sequence, state).await;
        let delta = watch.message().await.unwrap().unwrap();
        assert_eq!(delta.upserted.len(), 1, "{delta:?}");
    }
    assert_eq!(DECISIONS.get(), opened);
}
