//! How many connections there may be, how long they may be idle, and how old they may become.

use std::time::Duration;

use headcount::proto::{WaitForWorkloadRequest, WorkloadFilter, session_response::Message as Response};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::Instant};
use tonic::Code;

use crate::{
    proxy::{Proxy, SessionStream, hello},
    raw::read_until_closed,
    support::{Server, assert_status, dataplane, endpoint, in_time, still_serves},
    watcher::Watcher,
};

/// The preface of HTTP/2, and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const FOREVER: Duration = Duration::from_hours(1);

async fn connect_and_send(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut io = TcpStream::connect(server.grpc()).await.unwrap();
    io.write_all(bytes).await.unwrap();
    io
}

/// Neither a connection that sends nothing nor one that has sent its preface keeps its place.
#[tokio::test]
async fn connections_without_a_call_are_closed_to_make_room() {
    let server = Server::with(|config| {
        config.limits.max_connections = 8;
        config.limits.hello_timeout = FOREVER;
    })
    .await;
    let _proxy = server.proxy(dataplane("a", "web")).await;
    for start in [&b""[..], &PREFACE[..10], PREFACE] {
        let mut without_call = Vec::new();
        for _ in 0..7 {
            without_call.push(connect_and_send(&server, start).await);
        }
        // The other connections are older, so this one makes room.
        let mut oldest = without_call.remove(0);
        let _b = server.proxy(dataplane("b", "web")).await;
        assert_eq!(server.counts("web").await.0, 2, "sessions keep their places");
        read_until_closed(&mut oldest).await;
    }
    let shed = r#"headcount_shed_total{limit="max-connections"}"#;
    assert!(server.scrape().await.value(shed).is_some_and(|shed| shed > 0));
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_its_limit() {
    let server = Server::with(|config| config.limits.max_connections_per_address = Some(2)).await;
    let _sessions = [server.proxy(dataplane("a", "web")).await, server.proxy(dataplane("b", "web")).await];
    for _ in 0..3 {
        let mut refused = connect_and_send(&server, b"").await;
        assert_eq!(read_until_closed(&mut refused).await, b"");
    }
    let shed = r#"headcount_shed_total{limit="max-connections-per-address"}"#;
    assert_eq!(server.scrape().await.value(shed), Some(3));
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_and_its_client_reconnects() {
    let idle = Duration::from_secs(1);
    let server = Server::with(|config| config.limits.max_connection_idle = idle).await;
    let session = server.proxy(dataplane("a", "web")).await;
    let channel = server.connect().await;
    let start = Instant::now();
    let mut silent = connect_and_send(&server, PREFACE).await;
    read_until_closed(&mut silent).await;
    assert!(start.elapsed() >= idle, "{:?}", start.elapsed());
    // Its connection is as old as the other one.
    let proxy = Proxy::connect(channel, dataplane("b", "web")).await;
    assert_eq!(server.counts("web").await, (2, 0, 2), "a session keeps its connection");
    drop((proxy, session));
    still_serves(&server).await;
}

#[tokio::test]
async fn a_connection_at_its_maximum_age_asks_sessions_and_watches_to_reconnect() {
    let age = Duration::from_secs(2);
    let server = Server::with(|config| {
        config.limits.max_connection_age = Some(age);
        config.limits.max_connection_age_grace = FOREVER;
    })
    .await;
    let start = Instant::now();
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    let channel = server.connect().await;
    let mut workloads =
        headcount::proto::workload_service_client::WorkloadServiceClient::new(channel.clone());
    let mut watch = Watcher::open(workloads.clone(), WorkloadFilter::default(), "").await;
    watch.read_until_synced().await;
    let wait = WaitForWorkloadRequest { name: "web".into(), minimum_healthy: 9, ..Default::default() };
    let waited = in_time("the end of the wait", workloads.wait_for_workload(wait)).await.unwrap_err();
    assert_status(&waited, Code::Unavailable, &["max-connection-age"]);
    let reconnect = in_time("the end of the watch", watch.end()).await;
    assert_status(&reconnect, Code::Unavailable, &["max-connection-age", "reconnect"]);
    let Response::Drain(drain) = proxy.stream.receive().await else { panic!("no drain") };
    assert_eq!((drain.retry_after.unwrap().seconds, drain.reason.contains("max-connection-age")), (0, true));
    assert_status(&proxy.stream.end().await, Code::Unavailable, &["max-connection-age"]);
    assert!(start.elapsed() >= age.mul_f64(0.9), "{:?}", start.elapsed());
    let aged = r#"headcount_sessions_ended_total{reason="aged"}"#;
    server.wait_for_metric(aged, 1).await;
    // The channel has received a GOAWAY, so it reconnects.
    let _again = Proxy::connect(channel, dataplane("a", "web")).await;
    assert_eq!(server.counts("web").await, (1, 0, 1));
}

/// A client that does not read its streams can't be told to reconnect.
#[tokio::test]
async fn a_connection_is_closed_at_the_end_of_its_grace_period() {
    let server = Server::with(|config| {
        config.limits.max_connection_age = Some(Duration::from_millis(200));
        config.limits.max_connection_age_grace = Duration::from_millis(300);
    })
    .await;
    let channel = endpoint(server.grpc()).initial_stream_window_size(0).connect().await.unwrap();
    let mut blocked = SessionStream::open(channel).await;
    blocked.send(hello(dataplane("a", "web")));
    server.wait_for_counts("web", (1, 0, 1)).await;
    server.wait_for_counts("web", (0, 0, 1)).await;
    let lost = blocked.end().await;
    assert_ne!(lost.code(), Code::Ok, "{lost:?}");
    still_serves(&server).await;
}
