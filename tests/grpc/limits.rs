//! Limits of sessions, dataplanes and watchers. A rejection is `RESOURCE_EXHAUSTED`, names the setting
//! and has a retry delay; admitted clients are not affected.

use std::time::Duration;

use headcount::proto::{WaitForWorkloadRequest, WatchEventsRequest, WatchWorkloadsRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    proxy::{SessionStream, hello},
    support::{Server, assert_status, dataplane, in_time},
};

fn assert_limit_reached(status: &Status, setting: &str) {
    assert_status(status, Code::ResourceExhausted, &[setting]);
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let retry = retry.expect("a retry delay");
    assert!(Duration::from_secs(1) < retry && retry < Duration::from_mins(1), "{retry:?}");
}

async fn rejected(server: &Server, mesh: &str, name: &str) -> Status {
    let mut dataplane = dataplane(name, "web");
    dataplane.mesh = mesh.into();
    let mut stream = SessionStream::open(server.connect().await).await;
    stream.send(hello(dataplane));
    stream.end().await
}

#[tokio::test]
async fn sessions_beyond_max_sessions_are_rejected() {
    let server = Server::with(|config| config.registry.max_sessions = 2).await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    let b = server.proxy(dataplane("b", "web")).await;
    let full = rejected(&server, "default", "c").await;
    assert_limit_reached(&full, "2 dataplanes are connected, the most this server takes (max-sessions)");
    assert_eq!(server.counts("web").await, (2, 0, 2), "a rejected dataplane is not registered");

    // A takeover replaces a session, so it is admitted at the limit.
    let newer = server.proxy(dataplane("a", "web")).await;
    assert_eq!(a.stream.end().await.code(), Code::Aborted);
    assert_limit_reached(&rejected(&server, "default", "c").await, "max-sessions");

    b.goodbye().await;
    let _c = server.proxy(dataplane("c", "web")).await;
    // A lost session does not count either.
    drop(newer);
    server.wait_for_counts("web", (1, 0, 2)).await;
    let _d = server.proxy(dataplane("d", "web")).await;
    assert_eq!(server.counts("web").await, (2, 0, 3));
}

#[tokio::test]
async fn sessions_beyond_max_sessions_per_mesh_are_rejected() {
    let server = Server::with(|config| config.registry.max_sessions_per_mesh = 1).await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    let full = rejected(&server, "default", "b").await;
    assert_limit_reached(&full, "of mesh default are connected");
    assert_limit_reached(&full, "(max-sessions-per-mesh)");
    let mut other = dataplane("a", "api");
    other.mesh = "other".into();
    let _other = server.proxy(other).await;
    let newer = server.proxy(dataplane("a", "web")).await;
    assert_eq!(a.stream.end().await.code(), Code::Aborted);
    newer.goodbye().await;
    let _b = server.proxy(dataplane("b", "web")).await;
}

#[tokio::test]
async fn dataplanes_beyond_max_dataplanes_are_rejected() {
    let server = Server::with(|config| config.registry.max_dataplanes = 2).await;
    let a = server.proxy(dataplane("a", "web")).await;
    let _b = server.proxy(dataplane("b", "web")).await;
    let full = rejected(&server, "default", "c").await;
    assert_limit_reached(&full, "2 dataplanes are registered, the most this server keeps (max-dataplanes)");
    // A new dataplane evicts a lost one.
    drop(a);
    server.wait_for_counts("web", (1, 0, 2)).await;
    let c = server.proxy(dataplane("c", "web")).await;
    assert_eq!(server.counts("web").await, (2, 0, 2));
    rejected(&server, "default", "a").await;
    c.goodbye().await;
    let _a = server.proxy(dataplane("a", "web")).await;
    assert_eq!(server.counts("web").await, (2, 0, 2));
}

#[tokio::test]
async fn dataplanes_beyond_max_registered_bytes_are_rejected() {
    let server = Server::with(|config| {
        config.registry.max_registered_bytes = 5_000;
        config.registry.max_registered_bytes_per_mesh = 3_000;
    })
    .await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    let bytes = server.scrape().await.value("headcount_registered_bytes").expect("a gauge");
    assert!((1_500..2_500).contains(&bytes), "{bytes}");
    let full = rejected(&server, "default", "b").await;
    assert_limit_reached(&full, "dataplanes of mesh default take 3000 bytes");
    assert_limit_reached(&full, "(max-registered-bytes-per-mesh)");
    let mut other = dataplane("a", "api");
    other.mesh = "other".into();
    let _other = server.proxy(other).await;
    let full = rejected(&server, "third", "a").await;
    assert_limit_reached(&full, "the registered dataplanes take 5000 bytes");
    assert_limit_reached(&full, "(max-registered-bytes)");
    for limit in ["max-registered-bytes", "max-registered-bytes-per-mesh"] {
        server.wait_for_metric(&format!("headcount_shed_total{{limit=\"{limit}\"}}"), 1).await;
    }
    // A takeover needs no more memory, and a lost dataplane makes room.
    let newer = server.proxy(dataplane("a", "web")).await;
    assert_eq!(a.stream.end().await.code(), Code::Aborted);
    drop(newer);
    server.wait_for_counts("web", (0, 0, 1)).await;
    let b = server.proxy(dataplane("b", "web")).await;
    assert_eq!(server.counts("web").await, (1, 0, 1));
    b.goodbye().await;
    server.wait_for_metric("headcount_registered_bytes", bytes).await;
}

#[tokio::test]
async fn watches_and_waits_beyond_max_watchers_are_rejected() {
    let server = Server::with(|config| config.registry.max_watchers = 2).await;
    let watch = server.watch().await;
    let mut client = server.events();
    let events = in_time("a watch", client.watch_events(WatchEventsRequest::default())).await;
    let events = events.expect("a watch");

    let message = "2 watchers are connected, the most this server takes (max-watchers)";
    let rejected = server.workloads().watch_workloads(WatchWorkloadsRequest::default()).await;
    assert_limit_reached(&rejected.unwrap_err(), message);
    let rejected = server.events().watch_events(WatchEventsRequest::default()).await;
    assert_limit_reached(&rejected.unwrap_err(), message);
    let wait = WaitForWorkloadRequest {
        name: "web".into(),
        minimum_healthy: 1,
        ..WaitForWorkloadRequest::default()
    };
    let rejected = server.workloads().wait_for_workload(wait).await;
    assert_limit_reached(&rejected.unwrap_err(), message);

    drop(watch);
    server.wait_for_metric("headcount_watchers", 1).await;
    let _watch = server.watch().await;
    drop(events);
}

/// The server reads no more hellos from an address whose hellos it has just rejected too often.
#[tokio::test]
async fn an_address_with_too_many_invalid_hellos_is_shed() {
    // A tenth of it is the limit of rejections per second and address.
    let server = Server::with(|config| config.registry.max_session_rate = 10).await;
    let invalid = || {
        let mut invalid = dataplane("a", "web");
        invalid.mesh.clear();
        hello(invalid)
    };
    // All clients of this test have one address.
    let mut shed = None;
    for _ in 0..10 {
        let mut stream = match SessionStream::try_open(server.connect().await).await {
            Ok(stream) => stream,
            Err(status) => {
                shed = Some(status);
                break;
            }
        };
        stream.send(invalid());
        assert_status(&stream.end().await, Code::InvalidArgument, &["hello.dataplane.mesh"]);
    }
    let shed = shed.expect("the address is shed");
    assert_status(
        &shed,
        Code::ResourceExhausted,
        &["more than 1 hellos per second from this address were invalid"],
    );
    let retry = shed.get_details_retry_info().and_then(|info| info.retry_delay).expect("a retry delay");
    assert!(retry <= Duration::from_secs(2), "{retry:?}");
}
