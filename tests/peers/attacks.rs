//! What a caller without a credential, or with a token for one dataplane, can do to others: nothing.
//! And what a token for all dataplanes can do: no more than its share.

mod caller;
mod reads;

use std::net::{IpAddr, SocketAddr};

use futures_util::future::join_all;
use headcount::proto::{
    Dataplane, Goodbye, ListEventsRequest, WatchWorkloadsRequest,
    envoy::{
        config::core::v3::Node,
        service::health::v3::{
            HealthCheckRequest, HealthCheckRequestOrEndpointHealthResponse,
            health_check_request_or_endpoint_health_response::RequestType,
            health_discovery_service_client::HealthDiscoveryServiceClient,
        },
    },
    event_service_client::EventServiceClient,
    session_request::Message,
    workload_service_client::WorkloadServiceClient,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Status};

use self::caller::Caller;
use crate::{
    secured::Secured,
    support::{DEADLINE, Signal, dataplane, hello, ready, retry},
};

const UNREFUSED: &str = "the call must be refused";

/// A caller without a credential and one with a token for dataplane `mallory`, with the code by which
/// the server refuses them.
async fn attackers(secured: &Secured) -> [(Caller, Code); 2] {
    [
        (secured.without_credential().await, Code::Unauthenticated),
        (secured.holder("mallory").await, Code::PermissionDenied),
    ]
}

/// A hello of a dataplane that is not the caller's must be refused.
async fn assert_refused<const N: usize>(caller: &Caller, code: Code, messages: [Message; N]) {
    let refused = caller.open(messages).await.expect_err(UNREFUSED);
    assert_eq!(refused.code(), code, "{refused:?}");
}

fn exhausted<T: std::fmt::Debug>(result: Result<T, Status>, text: &str) {
    let status = result.expect_err(UNREFUSED);
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains(text), "{status:?}");
}

fn goodbye() -> Message {
    Message::Goodbye(Goodbye {})
}

fn web(n: usize) -> Dataplane {
    dataplane("default", "web", &format!("web-{n}"))
}

#[tokio::test]
async fn a_dataplane_is_taken_over_unregistered_and_reported_by_its_own_agent_only() {
    let secured = Secured::start(&["grpc"], "").await;
    let agent = secured.agent("web-1", "web").await;
    secured.wait_for_counts("web", [1, 1, 1]).await;
    for (caller, code) in attackers(&secured).await {
        assert_refused(&caller, code, [hello(web(1))]).await;
        assert_refused(&caller, code, [hello(web(1)), goodbye()]).await;
        // There is no agent of this name.
        assert_refused(&caller, code, [hello(web(2)), ready()]).await;
        assert!(caller.open([goodbye()]).await.is_err(), "a goodbye without a hello");
        assert!(caller.open([ready()]).await.is_err(), "a report without a hello");
    }
    assert_eq!(secured.counts("web").await, Some([1, 1, 1]));
    // The agent is still connected, and its goodbye unregisters the dataplane.
    agent.signal(Signal::TERM);
    agent.end().await.expect_exit(0);
    retry("the end of web", async || secured.counts("web").await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_name_is_held_by_a_mesh_that_the_token_allows_only() {
    let secured = Secured::start(&["grpc"], "").await;
    let other = |workload| dataplane("other", workload, "mallory");
    let of_other =
        secured.dataplane_token("--mesh other --namespace default --name mallory --workload mallory").await;
    let of_other = secured.holder_of(&of_other).await;
    for (caller, code) in attackers(&secured).await {
        assert_refused(&caller, code, [hello(other("web"))]).await;
    }
    assert_refused(&of_other, Code::PermissionDenied, [hello(other("web"))]).await;
    // What it may do: register its own workload, and leave.
    drop(of_other.open([hello(other("mallory"))]).await.expect("a welcome"));
    let _agents = [secured.agent("web-1", "web").await, secured.agent("web-2", "web").await];
    secured.wait_for_counts("web", [2, 2, 2]).await;
}

#[tokio::test]
async fn one_dataplane_fills_neither_sessions_nor_the_session_rate() {
    let secured = Secured::start(&["grpc"], "--max-sessions 4 --max-session-rate 20").await;
    let (without_credential, mallory) = (secured.without_credential().await, secured.holder("mallory").await);
    let own = || hello(dataplane("default", "mallory", "mallory"));
    let bob = secured.holder("bob").await;
    let refused =
        (0..100).map(|_| assert_refused(&without_credential, Code::Unauthenticated, [hello(web(1))]));
    join_all(refused).await;
    // At once: the hellos wait for the flap interval, and replace each other.
    let _sessions = join_all((0..100).map(|_| mallory.open([own()]))).await;
    let _session = bob.open([hello(dataplane("default", "bob", "bob"))]).await.expect("a welcome");
    assert!(secured.counts("mallory").await.is_some_and(|[connected, ..]| connected <= 1));
}

#[tokio::test]
async fn the_connections_of_one_address_leave_room_for_others() {
    let secured = Secured::start(&["grpc"], "--max-connections 8 --max-connections-per-address 4").await;
    let (mallory, bob) = (secured.token_for("mallory").await, secured.token_for("bob").await);
    let mut held = Vec::new();
    // Each stream waits for a hello, so that its connection is in use.
    while let Ok(channel) = secured.connect(None).await {
        assert!(held.len() < 4, "the address has no more connections than the limit");
        held.push(Caller::on(channel, &mallory).begin([]).await);
    }
    assert_eq!(held.len(), 4);
    let elsewhere = secured.connect(Some(IpAddr::from([127, 0, 0, 77]))).await.expect("a connection");
    let own = [hello(dataplane("default", "bob", "bob"))];
    let _session = Caller::on(elsewhere, &bob).open(own).await.expect("a welcome");
    assert_eq!(secured.shed("max-connections-per-address").await, 1);
}

#[tokio::test]
async fn the_watchers_of_one_user_leave_room_for_others() {
    let secured = Secured::start(&["grpc"], "--max-watchers 4").await;
    let watch = async |caller: &Caller| {
        let request = caller.request(WatchWorkloadsRequest::default());
        WorkloadServiceClient::new(caller.channel.clone()).watch_workloads(request).await
    };
    let (alice, carol) = (secured.viewer("alice").await, secured.viewer("carol").await);
    let _held = [watch(&alice).await.expect("room"), watch(&alice).await.expect("room")];
    let text = "user \"alice\" may have 2 watchers, the most this server allows one client (max-client-share of \
                max-watchers)";
    exhausted(watch(&alice).await, text);
    let _other = watch(&carol).await.expect("room");
    assert_eq!(secured.shed("max-client-share").await, 1);
}

#[tokio::test]
async fn the_dataplanes_of_one_client_displace_no_lost_ones_of_others() {
    let secured = Secured::start(&["grpc"], "--max-dataplanes 8").await;
    let agent = secured.agent("web-1", "web").await;
    secured.wait_for_counts("web", [1, 1, 1]).await;
    agent.signal(Signal::KILL);
    secured.wait_for_counts("web", [0, 0, 1]).await;
    for (caller, code) in attackers(&secured).await {
        for n in 0..20 {
            let name = format!("invented-{n}");
            assert_refused(&caller, code, [hello(dataplane("default", "mallory", &name))]).await;
        }
    }
    // A token for all dataplanes of the mesh.
    let all = secured.holder_of(&secured.dataplane_token("--mesh default").await).await;
    let invented = |n: usize| [hello(dataplane("default", "invented", &format!("invented-{n}")))];
    for n in 0..4 {
        drop(all.open(invented(n)).await.expect("a welcome"));
    }
    for n in 4..20 {
        exhausted(all.open(invented(n)).await, "max-client-share of max-dataplanes");
    }
    assert_eq!(secured.counts("web").await, Some([0, 0, 1]));
    let bob = secured.holder("bob").await;
    let _session = bob.open([hello(dataplane("default", "bob", "bob"))]).await.expect("a welcome");
}

#[tokio::test]
async fn the_names_of_one_client_are_limited() {
    let secured = Secured::start(&["grpc"], "--max-workloads-per-client 20").await;
    let invented = |n: usize| [hello(dataplane("default", &format!("w{n}"), &format!("d{n}")))];
    for (caller, code) in attackers(&secured).await {
        for n in 0..20 {
            assert_refused(&caller, code, invented(n)).await;
        }
    }
    let all = secured.holder_of(&secured.dataplane_token("--mesh default").await).await;
    let mut sessions = Vec::new();
    for n in 0..60 {
        match all.open(invented(n)).await {
            Ok(session) => sessions.push(session),
            rejected => exhausted(rejected, "20 workloads, the most this server allows one client"),
        }
    }
    assert_eq!(sessions.len(), 20);
    let series = secured.metrics().await.matches("headcount_dataplane_proxies_connected{").count();
    assert_eq!(series, 20);
    assert_eq!(secured.shed("max-workloads-per-client").await, 40);
}

#[tokio::test]
async fn invented_names_push_out_no_events() {
    let secured = Secured::start(&["grpc"], "").await;
    let reject = async |caller: &Caller, name: &str| {
        let workload = Some(prost_types::value::Kind::StringValue("not a name".into()));
        let fields = [("kuma.io/workload".to_owned(), prost_types::Value { kind: workload })];
        let metadata = Some(prost_types::Struct { fields: fields.into() });
        let node = Some(Node { id: name.into(), metadata, ..Node::default() });
        let request_type = Some(RequestType::HealthCheckRequest(HealthCheckRequest { node }));
        let request = HealthCheckRequestOrEndpointHealthResponse { request_type };
        let request = caller.request(tokio_stream::iter([request]));
        let mut client = HealthDiscoveryServiceClient::new(caller.channel.clone());
        let stream = client.stream_health_check(request).await?.into_inner().message().await;
        stream.map(drop)
    };
    let bob = secured.holder("bob").await;
    reject(&bob, "bob").await.expect_err(UNREFUSED);
    let (without_credential, mallory) = (secured.without_credential().await, secured.holder("mallory").await);
    for n in 0..300 {
        let name = format!("invented-{n}");
        let refused = reject(&without_credential, &name).await.expect_err(UNREFUSED);
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        reject(&mallory, &name).await.expect_err(UNREFUSED);
    }
    let viewer = secured.viewer("alice").await;
    let request = viewer.request(ListEventsRequest::default());
    let events = EventServiceClient::new(viewer.channel.clone()).list_events(request).await.unwrap();
    let names: Vec<_> = events.into_inner().events.into_iter().map(|event| event.dataplane).collect();
    assert_eq!(names, ["bob", "mallory"]);
}

/// Sends a review of a new Pod of a namespace to the validating webhook, and returns its response.
async fn review(address: SocketAddr, namespace: &str) -> Value {
    let pod = json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-1"},
        "spec": {"containers": [{"name": "app"}], "serviceAccountName": "default"}
    });
    let (kind, resource) = (
        json!({"group": "", "version": "v1", "kind": "Pod"}),
        json!({"group": "", "version": "v1", "resource": "pods"}),
    );
    let review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "1", "kind": kind, "resource": resource, "namespace": namespace, "operation": "CREATE",
        "object": pod, "oldObject": null,
    }});
    let body = review.to_string();
    let request = format!(
        "POST /validate-v1-pod HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut response)).await.expect("a response").unwrap();
    let body = response.split_once("\r\n\r\n").expect("a head").1;
    serde_json::from_str::<Value>(body).unwrap_or_else(|_| panic!("{response}"))["response"].clone()
}

#[tokio::test]
async fn the_webhook_denies_pods_by_dataplanes_that_the_token_allows_only() {
    let secured = Secured::start(&["grpc"], "--disallow-multiple-meshes-per-namespace").await;
    let in_shop = || Dataplane { namespace: "shop".into(), ..dataplane("other", "mallory", "mallory") };
    let of_other =
        secured.dataplane_token("--mesh other --namespace default --name mallory --workload mallory").await;
    let of_other = secured.holder_of(&of_other).await;
    for (caller, code) in attackers(&secured).await {
        assert_refused(&caller, code, [hello(in_shop())]).await;
    }
    assert_refused(&of_other, Code::PermissionDenied, [hello(in_shop())]).await;
    let _own = of_other.open([hello(dataplane("other", "mallory", "mallory"))]).await.expect("a welcome");
    assert_eq!(review(secured.server.kube, "shop").await["allowed"], true);
    assert_eq!(review(secured.server.kube, "default").await["allowed"], false, "its own namespace");
}
