//! Every stream ends within a second after the right of its caller has ended.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::Method;
use http_body_util::BodyExt as _;
use prost::Message;
use prost_types::{ListValue, Struct, Value, value::Kind};
use tokio::{
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tonic::Status;
use tonic_health::pb::HealthCheckRequest as WatchHealth;
use tonic_reflection::pb::{v1, v1alpha};
use tower::Service as _;

use super::{access::tests::descriptors, *};
use crate::{
    access::{
        Access, Credential, CredentialId,
        tests::{clock, policy},
    },
    audit::AuditLog,
    authentication::Authenticator,
    model::{DataplaneGrant, Principal, Proof, TokenId, User},
    proto::{
        self, CreateBackupRequest, Dataplane, Heartbeat, Hello, SessionRequest, WaitForWorkloadRequest,
        WatchEventsRequest, WatchWorkloadsRequest,
        envoy::{
            config::core::v3::Node,
            service::health::v3::{
                EndpointHealthResponse, HealthCheckRequest, HealthCheckRequestOrEndpointHealthResponse,
                health_check_request_or_endpoint_health_response::RequestType,
            },
        },
        session_request::Message as Request,
    },
    registry::RegistrySettings,
    store::{MemoryStore, Store as _, Write},
    telemetry::metrics::Listener,
};

/// When the credential of a call expires.
const EXPIRY: Duration = Duration::from_secs(3);
/// The bound that the documents promise.
const SECOND: Duration = Duration::from_secs(1);

/// A call that lasts.
struct Call {
    path: &'static str,
    principal: Principal,
    first: Vec<u8>,
    /// A message that the client may send any number of times.
    further: Option<Vec<u8>>,
    /// Whether the server sends something at once.
    responds: bool,
}

/// All methods whose calls last.
fn calls() -> Vec<Call> {
    let dataplane = || Principal::Dataplane(DataplaneGrant::unrestricted(Proof::Token));
    let operator = || Principal::User(User { name: "operator".into(), groups: vec![] });
    let of_user = |path, first| Call { path, principal: operator(), first, further: None, responds: true };
    let session = |message| SessionRequest { message: Some(message) }.encode_to_vec();
    let web = Dataplane { mesh: "default".into(), name: "web-1".into(), ..Dataplane::default() };
    let hello = Hello { dataplane: Some(web), ..Hello::default() };
    let envoy =
        |request| HealthCheckRequestOrEndpointHealthResponse { request_type: Some(request) }.encode_to_vec();
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let port = Struct { fields: [("port".into(), Value { kind: Some(Kind::NumberValue(8080.0)) })].into() };
    let inbounds = ListValue { values: vec![Value { kind: Some(Kind::StructValue(port)) }] };
    let inbounds = Value { kind: Some(Kind::ListValue(inbounds)) };
    let fields = [("kuma.io/mesh".into(), text("default")), ("inbounds".into(), inbounds)].into();
    let node = Node { id: "web-2".into(), metadata: Some(Struct { fields }), ..Node::default() };
    let check = HealthCheckRequest { node: Some(node) };
    let reflection = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        ..v1::ServerReflectionRequest::default()
    };
    let reflection_alpha = v1alpha::ServerReflectionRequest {
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
        ..v1alpha::ServerReflectionRequest::default()
    };
    let reflected = |path, first: Vec<u8>| Call { further: Some(first.clone()), ..of_user(path, first) };
    vec![
        Call {
            path: "/headcount.v1.DataplaneService/Session",
            principal: dataplane(),
            first: session(Request::Hello(hello)),
            further: Some(session(Request::Heartbeat(Heartbeat {}))),
            responds: true,
        },
        Call {
            path: "/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck",
            principal: dataplane(),
            first: envoy(RequestType::HealthCheckRequest(check)),
            further: Some(envoy(RequestType::EndpointHealthResponse(EndpointHealthResponse::default()))),
            responds: true,
        },
        of_user(
            "/headcount.v1.WorkloadService/WatchWorkloads",
            WatchWorkloadsRequest::default().encode_to_vec(),
        ),
        Call {
            responds: false,
            ..of_user("/headcount.v1.EventService/WatchEvents", WatchEventsRequest::default().encode_to_vec())
        },
        of_user("/headcount.v1.BackupService/CreateBackup", CreateBackupRequest {}.encode_to_vec()),
        of_user("/grpc.health.v1.Health/Watch", WatchHealth::default().encode_to_vec()),
        reflected("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", reflection.encode_to_vec()),
        reflected(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            reflection_alpha.encode_to_vec(),
        ),
    ]
}

#[test]
fn every_streaming_method_is_in_the_table() {
    let listed: BTreeSet<_> = calls().into_iter().map(|call| call.path.to_owned()).collect();
    let streams = descriptors().into_iter();
    let streams = streams.filter(|(_, method)| method.client_streaming() || method.server_streaming());
    assert_eq!(listed, streams.map(|(path, _)| path).collect::<BTreeSet<_>>());
}

/// A server whose callers all have one credential.
struct Server {
    registry: Registry,
    grpc: Grpc,
    access: Access,
    revoked: Arc<AtomicBool>,
    /// The task that ends live calls.
    _tasks: JoinSet<()>,
}

/// What the client gets of a call.
type Responses = http::Response<Body>;

impl Server {
    async fn start(principal: Principal, expires: SystemTime) -> Self {
        let (registry, access) = (Registry::new(RegistrySettings::default()), Access::new(policy(), clock));
        let (metrics, revoked) = (Metrics::new(&registry).unwrap(), Arc::new(AtomicBool::new(false)));
        let recheck = {
            let revoked = Arc::clone(&revoked);
            move || if revoked.load(Ordering::Relaxed) { Err("token is revoked".into()) } else { Ok(()) }
        };
        let id = CredentialId::Token(TokenId::random());
        let credential = Credential { id, expires: Some(expires), recheck: Arc::new(recheck) };
        let authenticator = Authenticator::fixed(&access, access.caller(principal, credential));
        let control =
            AccessControl::new(Listener::Grpc, authenticator, metrics.refused.clone(), AuditLog::default());
        let keys = TokenKeys::load(Arc::new(MemoryStore::new()), SystemTime::now()).await.unwrap();
        let identities = MeshIdentities::load(Arc::new(MemoryStore::new())).await.unwrap();
        let grpc_access = GrpcAccess { control, keys: Arc::new(keys), identities: Arc::new(identities) };
        let stores =
            Stores { registrations: Arc::new(entries(50).await), resources: Arc::new(MemoryStore::new()) };
        let (limits, checks) = (Limits::default(), CheckSettings::default());
        let shutdown = CancellationToken::new();
        let grpc = Grpc::new(&registry, Some(stores), limits, checks, grpc_access, &metrics, shutdown);
        let (grpc, mut tasks) = (grpc.await.unwrap(), JoinSet::new());
        tasks.spawn({
            let access = access.clone();
            async move { access.run().await }
        });
        Self { registry, grpc, access, revoked, _tasks: tasks }
    }

    fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
        self.access.recheck();
    }

    /// Calls the method and keeps the request open. With `flood` the client sends its further message
    /// without end.
    async fn call(&self, call: &Call, flood: bool) -> Responses {
        let further = if flood { call.further.as_deref().map(frame) } else { None };
        let more = stream::unfold(further, async |further| {
            let Some(bytes) = further else { return std::future::pending().await };
            Some((Ok::<_, Status>(bytes.clone()), Some(bytes)))
        });
        let more = if call.further.is_some() { more.left_stream() } else { stream::empty().right_stream() };
        let first = stream::iter([Ok(frame(&call.first))]);
        let request = http::Request::builder().method(Method::POST).uri(call.path);
        let request = request.header("content-type", "application/grpc");
        let body = Body::from_stream(first.chain(more));
        let response = self.grpc.routes.clone().call(request.body(body).unwrap()).await.unwrap();
        response.map(Body::new)
    }
}

/// A store whose backup has many chunks.
async fn entries(count: usize) -> MemoryStore {
    let store = MemoryStore::new();
    let write = |n| Write {
        key: format!("{n:04}").into(),
        expected: crate::store::Expected::Absent,
        value: Some(vec![0; 48 << 10].into()),
    };
    store.commit((0..count).map(write).collect()).await.unwrap();
    store
}

/// A message with its prefix.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// Waits until the call has begun.
async fn first_response(call: &Call, body: &mut Body) {
    if call.responds {
        let first = timeout(SECOND, body.frame()).await;
        let first = first.unwrap_or_else(|_| panic!("{} does not respond", call.path));
        assert!(first.unwrap().unwrap().is_data(), "{} ends", call.path);
    }
}

/// Reads until the end, and returns the status.
async fn end(body: &mut Body) -> Status {
    // Many more than are on their way, because the clock stands still while a client floods.
    for _ in 0..10_000 {
        let Some(frame) = body.frame().await else { panic!("no status") };
        let frame = frame.expect("no error but a status");
        if let Some(trailers) = frame.trailers_ref() {
            return Status::from_header_map(trailers).expect("a status");
        }
        // The task that ends calls runs, as on a worker of its own.
        yield_now().await;
    }
    panic!("the call does not end")
}

fn assert_unauthenticated(path: &str, status: &Status, message: &str) {
    assert_eq!(status.code(), tonic::Code::Unauthenticated, "{path}: {status:?}");
    assert!(status.message().contains(message), "{path}: {status:?}");
}

const NEVER: Duration = Duration::from_secs(1_000_000_000);

#[tokio::test(start_paused = true)]
async fn every_stream_ends_when_its_credential_is_revoked() {
    for flood in [false, true] {
        for call in calls().iter().filter(|call| !flood || call.further.is_some()) {
            let path = call.path;
            let server = Server::start(call.principal.clone(), clock() + NEVER).await;
            let mut body = server.call(call, flood).await.into_body();
            first_response(call, &mut body).await;
            server.revoke();
            let ended = timeout(SECOND, end(&mut body)).await;
            let status = ended.unwrap_or_else(|_| panic!("{path} does not end, flood: {flood}"));
            assert_unauthenticated(path, &status, "token is revoked");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_stream_ends_when_its_credential_expires_also_if_nobody_read_it() {
    for call in calls() {
        for reads in [true, false] {
            let (path, expires) = (call.path, clock() + EXPIRY);
            let server = Server::start(call.principal.clone(), expires).await;
            let mut body = server.call(&call, false).await.into_body();
            first_response(&call, &mut body).await;
            let backup = path.ends_with("/CreateBackup");
            if !reads || backup {
                sleep(EXPIRY + SECOND).await;
                let groups = server.registry.groups();
                let connected: u32 = groups.iter().map(|group| group.counts.connected).sum();
                assert_eq!(connected, 0, "{path}: its dataplane counts as lost");
            }
            assert_unauthenticated(path, &end(&mut body).await, "has expired");
            let late = clock().duration_since(expires).unwrap();
            assert!(late < SECOND || !reads || backup, "{path}: {late:?}");
        }
    }
}

/// A certificate is that of the connection, so a token can't replace it.
#[tokio::test(start_paused = true)]
async fn a_credential_is_rejected_if_no_token_has_opened_the_session() {
    let credential = Request::Credential(proto::Credential { token: "a.b.c".into() });
    let mut calls = calls();
    let mut call = calls.swap_remove(0);
    call.further = Some(SessionRequest { message: Some(credential) }.encode_to_vec());
    for (proof, code) in
        [(Proof::Certificate, tonic::Code::FailedPrecondition), (Proof::Token, tonic::Code::Unauthenticated)]
    {
        call.principal = Principal::Dataplane(DataplaneGrant::unrestricted(proof));
        let server = Server::start(call.principal.clone(), clock() + NEVER).await;
        let mut body = server.call(&call, true).await.into_body();
        first_response(&call, &mut body).await;
        let status = end(&mut body).await;
        assert_eq!(status.code(), code, "{status:?}");
        let rejected = status.message().contains("credential: no token has opened the session");
        assert_eq!(rejected, code == tonic::Code::FailedPrecondition, "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_its_credential_is_revoked() {
    let request = WaitForWorkloadRequest {
        namespace: "default".into(),
        name: "web".into(),
        minimum_connected: 1,
        ..WaitForWorkloadRequest::default()
    };
    let call = Call {
        path: "/headcount.v1.WorkloadService/WaitForWorkload",
        principal: Principal::User(User { name: "operator".into(), groups: vec![] }),
        first: request.encode_to_vec(),
        further: None,
        responds: false,
    };
    let server = Server::start(call.principal.clone(), clock() + NEVER).await;
    let mut waiting = std::pin::pin!(server.call(&call, false));
    assert!(timeout(SECOND, &mut waiting).await.is_err(), "it waits");
    server.revoke();
    let response = timeout(SECOND, waiting).await.expect("the end");
    let status = Status::from_header_map(response.headers()).expect("a status");
    assert_unauthenticated(call.path, &status, "token is revoked");
}
