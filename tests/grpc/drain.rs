//! A drain: every client is notified, and no client can delay it beyond its timeout.

use std::time::Duration;

use headcount::proto::{
    HealthState, WaitForWorkloadRequest, WatchEventsRequest, WorkloadFilter,
    session_response::Message as Response, workload_service_client::WorkloadServiceClient,
};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use crate::{
    proxy::SessionStream,
    support::{Scrape, Server, assert_status, dataplane, endpoint, http_get, in_time},
    watcher::Watcher,
};

/// Starts a server with a drain timeout far below the keepalive's, so that a drain cannot succeed only
/// because the keepalive closes connections.
async fn start() -> Server {
    Server::with(|config| config.drain_timeout = Duration::from_secs(2)).await
}

fn drain(server: Server) -> JoinHandle<bool> {
    tokio::spawn(server.app.drain())
}

fn assert_draining(status: &Status) {
    assert_status(status, Code::Unavailable, &["the server is draining: reconnect"]);
}

#[tokio::test]
async fn a_session_receives_a_drain_message_and_then_ends() {
    let server = start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    let mut before_hello = SessionStream::open(server.connect().await).await;
    let drained = drain(server);
    let Response::Drain(drain) = proxy.stream.receive().await else {
        panic!("the drain message comes first");
    };
    assert_eq!(drain.reason, "the server is draining");
    let retry_after = drain.retry_after.unwrap();
    assert!((1..=2).contains(&retry_after.seconds), "{retry_after:?}");
    assert_draining(&proxy.stream.end().await);
    assert_draining(&before_hello.end().await);
    assert!(in_time("the drain", drained).await.unwrap());
}

#[tokio::test]
async fn watches_and_waits_end_with_unavailable() {
    let server = start().await;
    let mut watch = server.watch().await;
    let mut events = server.events();
    let events = events.watch_events(WatchEventsRequest::default()).await;
    let mut events = events.unwrap().into_inner();
    let mut health = HealthClient::new(server.channel());
    let health = health.watch(HealthCheckRequest::default()).await;
    let mut health = health.unwrap().into_inner();
    health.message().await.unwrap();
    let mut reflection = ServerReflectionClient::new(server.channel());
    let reflection = reflection.server_reflection_info(tokio_stream::pending()).await;
    let mut reflection = reflection.unwrap().into_inner();
    let waiting = tokio::spawn({
        let mut client = server.workloads();
        let request = WaitForWorkloadRequest {
            name: "web".into(),
            minimum_healthy: 1,
            ..WaitForWorkloadRequest::default()
        };
        async move { client.wait_for_workload(request).await }
    });
    server.wait_for_metric("headcount_watchers", 3).await;

    let drained = drain(server);
    assert_draining(&watch.end().await);
    assert_draining(&in_time("the end of the events", events.message()).await.unwrap_err());
    let not_serving = in_time("a status", health.message()).await;
    assert!(not_serving.unwrap().is_some());
    assert_draining(&in_time("the end of the health watch", health.message()).await.unwrap_err());
    assert_draining(&in_time("the end of reflection", reflection.message()).await.unwrap_err());
    assert_draining(&in_time("the response", waiting).await.unwrap().unwrap_err());
    assert!(in_time("the drain", drained).await.unwrap());
}

#[tokio::test]
async fn the_ports_are_closed_after_a_drain() {
    let server = start().await;
    let (grpc, http) = (server.grpc(), server.http());
    assert!(in_time("the drain", drain(server)).await.unwrap());
    for addr in [grpc, http] {
        let refused = tokio::net::TcpStream::connect(addr).await;
        assert!(refused.is_err(), "{addr} is still open");
    }
}

/// The watcher's window is full, so the server cannot even send the status. Meanwhile `/readyz` reports
/// the drain.
#[tokio::test]
async fn a_watcher_that_never_reads_delays_the_drain_until_its_timeout() {
    let server = Server::with(|config| {
        config.registry.flap_interval = Duration::ZERO;
        config.drain_timeout = Duration::from_secs(1);
    })
    .await;
    let endpoint = endpoint(server.grpc()).initial_stream_window_size(64);
    let client = WorkloadServiceClient::new(endpoint.connect().await.unwrap());
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    let stuck = Watcher::open(client, WorkloadFilter::default(), "").await;
    let last = (0..50).map(|n| match n % 2 {
        0 => proxy.send_health(HealthState::Ready),
        _ => proxy.send_health(HealthState::NotReady),
    });
    let last = last.max().unwrap();
    for sequence in 1..=last {
        proxy.expect_ack(sequence).await;
    }
    let http = server.http();
    let drained = drain(server);
    assert!(matches!(proxy.stream.receive().await, Response::Drain(_)));
    assert_draining(&proxy.stream.end().await);
    let (code, text) = http_get(http, "/readyz").await;
    assert_eq!((code, text.as_str()), (503, "not ready: starting or draining\n"));
    assert_eq!(http_get(http, "/livez").await.0, 200);
    let scrape = Scrape(http_get(http, "/metrics").await.1);
    let ended = r#"headcount_sessions_ended_total{reason="drained"}"#;
    assert_eq!(scrape.value(ended), Some(1));
    assert!(!in_time("the drain", drained).await.unwrap());
    drop(stuck);
}
