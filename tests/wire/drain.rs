//! The server goes away: everybody is told, and nobody can hold it up.

use std::time::Duration;

use headcount::proto::{
    HealthState, WaitForWorkloadRequest, WatchEventsRequest, WorkloadFilter,
    session_response::Message as Answer, workload_service_client::WorkloadServiceClient,
};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use crate::{
    fold::Fold,
    proxy::Line,
    support::{Scrape, Server, assert_says, dataplane, endpoint, http_get, soon},
};

/// One whose drain is quick or fails: far below what keepalive would need to
/// end what is left.
async fn quick() -> Server {
    Server::with(|config| config.drain_timeout = Duration::from_secs(2)).await
}

fn drain(server: Server) -> JoinHandle<bool> {
    tokio::spawn(server.app.drain())
}

fn assert_draining(status: &Status) {
    assert_says(status, Code::Unavailable, &["the server is draining: reconnect"]);
}

#[tokio::test]
async fn a_session_is_asked_to_leave_and_then_ended() {
    let server = quick().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    let mut before_hello = Line::open(server.connect().await).await;
    let drained = drain(server);
    let Answer::Drain(asked) = proxy.line.hear().await else {
        panic!("a drain comes first");
    };
    assert_eq!(asked.reason, "the server is draining");
    let retry_after = asked.retry_after.unwrap();
    assert!((1..=2).contains(&retry_after.seconds), "{retry_after:?}");
    assert_draining(&proxy.line.end().await);
    assert_draining(&before_hello.end().await);
    assert!(soon("the drain", drained).await.unwrap());
}

#[tokio::test]
async fn every_stream_that_reads_ends_with_unavailable() {
    let server = quick().await;
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
        let question = WaitForWorkloadRequest {
            name: "web".into(),
            minimum_healthy: 1,
            ..WaitForWorkloadRequest::default()
        };
        async move { client.wait_for_workload(question).await }
    });
    server.until_metric("headcount_watchers", 3).await;

    let drained = drain(server);
    assert_draining(&watch.end().await);
    assert_draining(&soon("events' end", events.message()).await.unwrap_err());
    let not_serving = soon("a status", health.message()).await;
    assert!(not_serving.unwrap().is_some());
    assert_draining(&soon("health's end", health.message()).await.unwrap_err());
    assert_draining(&soon("reflection's end", reflection.message()).await.unwrap_err());
    assert_draining(&soon("the answer", waiting).await.unwrap().unwrap_err());
    assert!(soon("the drain", drained).await.unwrap());
}

#[tokio::test]
async fn nobody_is_let_in_any_more() {
    let server = quick().await;
    let (grpc, http) = (server.grpc(), server.http());
    assert!(soon("the drain", drain(server)).await.unwrap());
    for addr in [grpc, http] {
        let refused = tokio::net::TcpStream::connect(addr).await;
        assert!(refused.is_err(), "{addr} is still open");
    }
}

/// Its window is full, so that even the end can't be said to it. Meanwhile HTTP
/// says what is going on.
#[tokio::test]
async fn a_watcher_that_never_reads_holds_the_drain_no_longer_than_its_timeout() {
    let server = Server::with(|config| {
        config.registry.flap_interval = Duration::ZERO;
        config.drain_timeout = Duration::from_secs(1);
    })
    .await;
    let endpoint = endpoint(server.grpc()).initial_stream_window_size(64);
    let client = WorkloadServiceClient::new(endpoint.connect().await.unwrap());
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    let stuck = Fold::open(client, WorkloadFilter::default(), "").await;
    let last = (0..50).map(|n| match n % 2 {
        0 => proxy.say_health(HealthState::Ready),
        _ => proxy.say_health(HealthState::NotReady),
    });
    let last = last.max().unwrap();
    for sequence in 1..=last {
        proxy.acked(sequence).await;
    }
    let http = server.http();
    let drained = drain(server);
    assert!(matches!(proxy.line.hear().await, Answer::Drain(_)));
    assert_draining(&proxy.line.end().await);
    let (code, text) = http_get(http, "/readyz").await;
    assert_eq!((code, text.as_str()), (503, "not ready: starting or draining\n"));
    assert_eq!(http_get(http, "/livez").await.0, 200);
    let scrape = Scrape(http_get(http, "/metrics").await.1);
    let ended = r#"headcount_sessions_ended_total{reason="drained"}"#;
    assert_eq!(scrape.value(ended), Some(1));
    assert!(!soon("the drain", drained).await.unwrap());
    drop(stuck);
}
