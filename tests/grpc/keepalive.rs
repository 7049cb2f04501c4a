//! Peers that stop responding, and limits of connections and streams.

use std::time::Duration;

use headcount::{
    config::Config,
    proto::{HealthState, WorkloadFilter, workload_service_client::WorkloadServiceClient},
};
use tokio::net::TcpStream;
use tonic::Code;

use crate::{
    proxy::{Proxy, SessionStream, health, hello},
    raw::{TcpForwarder, read_until_closed},
    support::{Server, assert_status, dataplane, endpoint, in_time, still_serves},
    watcher::Watcher,
};

fn short_keepalive(config: &mut Config) {
    config.limits.keepalive_interval = Duration::from_millis(200);
    config.limits.keepalive_timeout = Duration::from_millis(600);
}

/// The link is cut without FIN or RST, so no PING is answered.
#[tokio::test]
async fn a_session_over_a_cut_link_is_lost() {
    let server = Server::with(short_keepalive).await;
    let forwarder = TcpForwarder::start(server.grpc()).await;
    let channel = endpoint(forwarder.addr).connect().await.unwrap();
    let mut proxy = Proxy::connect(channel, dataplane("a", "web")).await;
    proxy.ready().await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    forwarder.stall();
    server.wait_for_counts("web", (0, 0, 1)).await;
    let lost = r#"headcount_sessions_ended_total{reason="lost"}"#;
    server.wait_for_metric(lost, 1).await;
    still_serves(&server).await;
    drop(proxy);
}

/// A watcher sends nothing after its request, so only PINGs can detect the loss.
#[tokio::test]
async fn a_watch_over_a_cut_link_ends() {
    let server = Server::with(short_keepalive).await;
    let forwarder = TcpForwarder::start(server.grpc()).await;
    let channel = endpoint(forwarder.addr).connect().await.unwrap();
    let client = WorkloadServiceClient::new(channel);
    let mut watch = Watcher::open(client, WorkloadFilter::default(), "").await;
    watch.next().await;
    assert_eq!(server.scrape().await.value("headcount_watchers"), Some(1));
    forwarder.stall();
    server.wait_for_metric("headcount_watchers", 0).await;
}

#[tokio::test]
async fn an_idle_session_ends_with_deadline_exceeded() {
    let server = Server::with(|config| config.limits.idle_timeout = Duration::from_millis(300)).await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    let parts = ["no report or heartbeat within 300ms", "send one more often"];
    assert_status(&proxy.stream.end().await, Code::DeadlineExceeded, &parts);
    assert_eq!(server.counts("web").await, (0, 0, 1));
    let idle = r#"headcount_sessions_ended_total{reason="idle"}"#;
    server.wait_for_metric(idle, 1).await;
    still_serves(&server).await;
}

/// The server cannot send the status and does not read the stream while its responses are blocked; the
/// connection still answers PINGs.
#[tokio::test]
async fn a_session_that_never_reads_is_disconnected_after_the_idle_timeout() {
    let server = Server::with(|config| config.limits.idle_timeout = Duration::from_secs(1)).await;
    // The window fits the welcome and a few acks; the server queues a few more.
    let channel = endpoint(server.grpc()).initial_stream_window_size(100).connect().await.unwrap();
    let unread = SessionStream::open(channel).await;
    unread.send(hello(dataplane("a", "web")));
    (1..=2_000).for_each(|sequence| unread.send(health(sequence, HealthState::Ready)));
    server.wait_for_counts("web", (1, 1, 1)).await;
    server.wait_for_counts("web", (0, 0, 1)).await;
    let scrape = server.scrape().await;
    for reason in ["idle", "lost"] {
        let ended = format!("headcount_sessions_ended_total{{reason=\"{reason}\"}}");
        assert_eq!(scrape.value(&ended), Some(0), "the stream has not ended: {reason}");
    }
    drop(unread);
    still_serves(&server).await;
}

#[tokio::test]
async fn connections_beyond_max_connections_are_closed() {
    let server = Server::with(|config| config.limits.max_connections = 2).await;
    let (a, b) = (server.connect().await, server.connect().await);
    let a = Proxy::connect(a, dataplane("a", "web")).await;
    let _b = Proxy::connect(b, dataplane("b", "web")).await;
    for _ in 0..3 {
        let mut rejected = TcpStream::connect(server.grpc()).await.unwrap();
        assert_eq!(read_until_closed(&mut rejected).await, b"");
    }
    // The server accepts another connection once it has seen one close.
    drop(a);
    let reconnect = async {
        loop {
            if let Ok(channel) = endpoint(server.grpc()).connect().await
                && let Ok(mut stream) = SessionStream::try_open(channel).await
            {
                stream.send(hello(dataplane("c", "web")));
                if stream.responses.message().await.is_ok() {
                    return stream;
                }
            }
        }
    };
    let _c = in_time("a free connection", reconnect).await;
    assert_eq!(server.app.registry().snapshot().workloads.len(), 1);
}

#[tokio::test]
async fn streams_beyond_max_streams_per_connection_wait_in_the_client() {
    let server = Server::with(|config| config.limits.max_streams_per_connection = 2).await;
    let channel = server.connect().await;
    let a = Proxy::connect(channel.clone(), dataplane("a", "web")).await;
    let _b = Proxy::connect(channel.clone(), dataplane("b", "web")).await;
    // The client opens the third stream once the first has ended.
    let third = tokio::spawn(Proxy::connect(channel, dataplane("c", "web")));
    still_serves(&server).await;
    assert!(!third.is_finished());
    a.goodbye().await;
    let _c = in_time("the third", third).await.unwrap();
    assert_eq!(server.counts("web").await, (2, 0, 2));
}
