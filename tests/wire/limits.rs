//! Limits refuse with `RESOURCE_EXHAUSTED` and say which one, and when to try
//! again; whoever is in stays in.

use std::time::Duration;

use headcount::proto::{WaitForWorkloadRequest, WatchEventsRequest, WatchWorkloadsRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    proxy::{Line, hello},
    support::{Server, assert_says, dataplane, soon},
};

fn assert_full(status: &Status, setting: &str) {
    assert_says(status, Code::ResourceExhausted, &[setting]);
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let retry = retry.expect("when to try again");
    assert!(Duration::from_secs(1) < retry && retry < Duration::from_mins(1), "{retry:?}");
}

async fn refused(server: &Server, mesh: &str, name: &str) -> Status {
    let mut stated = dataplane(name, "web");
    stated.mesh = mesh.into();
    let mut line = Line::open(server.connect().await).await;
    line.say(hello(stated));
    line.end().await
}

#[tokio::test]
async fn max_sessions() {
    let server = Server::with(|config| config.registry.max_sessions = 2).await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    let b = server.proxy(dataplane("b", "web")).await;
    let full = refused(&server, "default", "c").await;
    assert_full(&full, "2 dataplanes are connected, the most this server takes (max-sessions)");
    assert_eq!(server.counts("web").await, (2, 0, 2), "it was not registered");

    // A takeover needs no new place.
    let newer = server.proxy(dataplane("a", "web")).await;
    assert_eq!(a.line.end().await.code(), Code::Aborted);
    assert_full(&refused(&server, "default", "c").await, "max-sessions");

    b.goodbye().await;
    let _c = server.proxy(dataplane("c", "web")).await;
    // A lost one gives its place back too.
    drop(newer);
    server.until_counts("web", (1, 0, 2)).await;
    let _d = server.proxy(dataplane("d", "web")).await;
    assert_eq!(server.counts("web").await, (2, 0, 3));
}

#[tokio::test]
async fn max_sessions_per_mesh() {
    let server = Server::with(|config| config.registry.max_sessions_per_mesh = 1).await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    let full = refused(&server, "default", "b").await;
    assert_full(&full, "of mesh default are connected");
    assert_full(&full, "(max-sessions-per-mesh)");
    let mut other = dataplane("a", "api");
    other.mesh = "other".into();
    let _other = server.proxy(other).await;
    let newer = server.proxy(dataplane("a", "web")).await;
    assert_eq!(a.line.end().await.code(), Code::Aborted);
    newer.goodbye().await;
    let _b = server.proxy(dataplane("b", "web")).await;
}

#[tokio::test]
async fn max_dataplanes() {
    let server = Server::with(|config| config.registry.max_dataplanes = 2).await;
    let a = server.proxy(dataplane("a", "web")).await;
    let _b = server.proxy(dataplane("b", "web")).await;
    let full = refused(&server, "default", "c").await;
    assert_full(&full, "2 dataplanes are registered, the most this server keeps (max-dataplanes)");
    // One that is lost makes room for one that is there.
    drop(a);
    server.until_counts("web", (1, 0, 2)).await;
    let c = server.proxy(dataplane("c", "web")).await;
    assert_eq!(server.counts("web").await, (2, 0, 2));
    refused(&server, "default", "a").await;
    c.goodbye().await;
    let _a = server.proxy(dataplane("a", "web")).await;
    assert_eq!(server.counts("web").await, (2, 0, 2));
}

#[tokio::test]
async fn max_watchers_counts_all_who_watch_or_wait() {
    let server = Server::with(|config| config.registry.max_watchers = 2).await;
    let watch = server.watch().await;
    let mut client = server.events();
    let events = soon("a watch", client.watch_events(WatchEventsRequest::default())).await;
    let events = events.expect("a watch");

    let full = "2 watchers are connected, the most this server takes (max-watchers)";
    let refused = server.workloads().watch_workloads(WatchWorkloadsRequest::default()).await;
    assert_full(&refused.unwrap_err(), full);
    let refused = server.events().watch_events(WatchEventsRequest::default()).await;
    assert_full(&refused.unwrap_err(), full);
    let wait = WaitForWorkloadRequest {
        name: "web".into(),
        minimum_healthy: 1,
        ..WaitForWorkloadRequest::default()
    };
    let refused = server.workloads().wait_for_workload(wait).await;
    assert_full(&refused.unwrap_err(), full);

    drop(watch);
    server.until_metric("headcount_watchers", 1).await;
    let _watch = server.watch().await;
    drop(events);
}
