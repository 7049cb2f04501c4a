//! Keep-alives of watches.

use std::time::Duration;

use headcount::proto::{
    WatchEventsRequest, WatchEventsResponse, WatchWorkloadsRequest, WatchWorkloadsResponse,
    watch_stream::WatchStream,
};
use prost_types::Duration as ProtoDuration;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    raw::TcpForwarder,
    support::{Server, assert_status, dataplane, endpoint, in_time},
};

/// The shortest interval.
const INTERVAL: ProtoDuration = ProtoDuration { seconds: 1, nanos: 0 };

fn watch(keepalive_interval: ProtoDuration) -> WatchWorkloadsRequest {
    WatchWorkloadsRequest { keepalive_interval: Some(keepalive_interval), ..Default::default() }
}

fn watch_events(keepalive_interval: ProtoDuration) -> WatchEventsRequest {
    WatchEventsRequest { keepalive_interval: Some(keepalive_interval), ..Default::default() }
}

#[tokio::test]
async fn a_quiet_watch_receives_bookmarks_and_the_confirmation_first() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    let opened = in_time("a watch", server.workloads().watch_workloads(watch(INTERVAL))).await;
    let mut messages = opened.unwrap().into_inner();
    let mut next = async || in_time("a message", messages.message()).await.unwrap().unwrap();

    let confirmation =
        WatchWorkloadsResponse { keepalive_interval: Some(INTERVAL), ..WatchWorkloadsResponse::default() };
    assert_eq!(next().await, confirmation);
    let snapshot = next().await;
    assert!(snapshot.reset && snapshot.synced && snapshot.keepalive_interval.is_none(), "{snapshot:?}");
    let quiet_since = Instant::now();
    let bookmark = next().await;
    assert!(quiet_since.elapsed() >= Duration::from_millis(900), "{:?}", quiet_since.elapsed());
    let expected = WatchWorkloadsResponse { reset: false, upserted: Vec::new(), ..snapshot };
    assert_eq!(bookmark, expected);
    proxy.ready().await;
    let change = next().await;
    assert!(change.upserted.len() == 1 && change.revision > bookmark.revision, "{change:?}");
    // It has the token of the latest change.
    assert_eq!(next().await.resume_token, change.resume_token);
}

#[tokio::test]
async fn a_quiet_watch_of_events_receives_empty_responses() {
    let server = Server::start().await;
    let opened = in_time("a watch", server.events().watch_events(watch_events(INTERVAL))).await;
    let mut messages = opened.unwrap().into_inner();
    let confirmation = WatchEventsResponse { events: Vec::new(), keepalive_interval: Some(INTERVAL) };
    for expected in [confirmation, WatchEventsResponse::default(), WatchEventsResponse::default()] {
        assert_eq!(in_time("a message", messages.message()).await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn an_interval_out_of_range_is_rejected() {
    let server = Server::start().await;
    let check = |status: &Status| {
        let parts = ["keepalive_interval: ", "must be between 1s and 300s"];
        assert_status(status, Code::InvalidArgument, &parts);
    };
    for (seconds, nanos) in [(0, 999_999_999), (-1, 0), (300, 1), (i64::MAX, 0)] {
        let interval = ProtoDuration { seconds, nanos };
        check(&server.workloads().watch_workloads(watch(interval)).await.unwrap_err());
        check(&server.events().watch_events(watch_events(interval)).await.unwrap_err());
    }
    let longest = ProtoDuration { seconds: 300, nanos: 0 };
    assert!(server.workloads().watch_workloads(watch(longest)).await.is_ok());
    assert!(server.events().watch_events(watch_events(longest)).await.is_ok());
}

/// The client sends no PINGs, so only the missing keep-alives can detect the loss.
#[tokio::test]
async fn a_client_detects_a_path_that_carries_nothing() {
    let server = Server::start().await;
    let forwarder = TcpForwarder::start(server.grpc()).await;
    let channel = endpoint(forwarder.addr).connect().await.unwrap();
    let mut client = headcount::proto::workload_service_client::WorkloadServiceClient::new(channel);
    let opened = in_time("a watch", client.watch_workloads(watch(INTERVAL))).await;
    let mut messages = WatchStream::new(opened.unwrap().into_inner());
    assert!(in_time("the snapshot", messages.message()).await.unwrap().unwrap().reset);
    assert!(in_time("a bookmark", messages.message()).await.unwrap().unwrap().synced);
    forwarder.stall();
    let lost = async {
        while let Some(_late) = messages.message().await? {}
        Ok::<_, Status>(())
    };
    let status = in_time("the loss", lost).await.unwrap_err();
    assert_status(&status, Code::Unavailable, &["the server sent nothing within 4s"]);
}
