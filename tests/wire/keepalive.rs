//! Peers that are silent or gone, and how many may be there at all.

use std::time::Duration;

use headcount::{
    config::Config,
    proto::{HealthState, WorkloadFilter, workload_service_client::WorkloadServiceClient},
};
use tokio::net::TcpStream;
use tonic::Code;

use crate::{
    fold::Fold,
    proxy::{Line, Proxy, health, hello},
    raw::{Wire, closed},
    support::{Server, assert_says, dataplane, endpoint, soon, still_serves},
};

fn quick_keepalive(config: &mut Config) {
    config.limits.keepalive_interval = Duration::from_millis(200);
    config.limits.keepalive_timeout = Duration::from_millis(600);
}

/// No FIN, no RST: the wire is cut, and nobody on it answers PINGs.
#[tokio::test]
async fn a_peer_behind_a_dead_wire_is_lost() {
    let server = Server::with(quick_keepalive).await;
    let wire = Wire::to(server.grpc()).await;
    let channel = endpoint(wire.addr).connect().await.unwrap();
    let mut proxy = Proxy::hello(channel, dataplane("a", "web")).await;
    proxy.ready().await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    wire.die();
    server.until_counts("web", (0, 0, 1)).await;
    let lost = r#"headcount_sessions_ended_total{reason="lost"}"#;
    server.until_metric(lost, 1).await;
    still_serves(&server).await;
    drop(proxy);
}

/// The same for one that only listens, such as a watcher.
#[tokio::test]
async fn a_watcher_behind_a_dead_wire_is_forgotten() {
    let server = Server::with(quick_keepalive).await;
    let wire = Wire::to(server.grpc()).await;
    let channel = endpoint(wire.addr).connect().await.unwrap();
    let client = WorkloadServiceClient::new(channel);
    let mut watch = Fold::open(client, WorkloadFilter::default(), "").await;
    watch.next().await;
    assert_eq!(server.scrape().await.value("headcount_watchers"), Some(1));
    wire.die();
    server.until_metric("headcount_watchers", 0).await;
}

#[tokio::test]
async fn a_session_that_is_silent_for_too_long_is_ended() {
    let server = Server::with(|config| config.limits.idle_timeout = Duration::from_millis(300)).await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    let words = ["no health report within 300ms", "report more often"];
    assert_says(&proxy.line.end().await, Code::DeadlineExceeded, &words);
    assert_eq!(server.counts("web").await, (0, 0, 1));
    let idle = r#"headcount_sessions_ended_total{reason="idle"}"#;
    server.until_metric(idle, 1).await;
    still_serves(&server).await;
}

/// It can't be told so, and while it can't be answered it is not read from; its
/// connection answers PINGs.
#[tokio::test]
async fn a_session_that_reads_nothing_more_is_lost_when_its_time_is_over() {
    let server = Server::with(|config| config.limits.idle_timeout = Duration::from_secs(1)).await;
    // Enough for the welcome and a few acks, of which the server makes some more ready.
    let channel = endpoint(server.grpc()).initial_stream_window_size(100).connect().await.unwrap();
    let deaf = Line::open(channel).await;
    deaf.say(hello(dataplane("a", "web")));
    (1..=2_000).for_each(|sequence| deaf.say(health(sequence, HealthState::Ready)));
    server.until_counts("web", (1, 1, 1)).await;
    server.until_counts("web", (0, 0, 1)).await;
    let scrape = server.scrape().await;
    for reason in ["idle", "lost"] {
        let ended = format!("headcount_sessions_ended_total{{reason=\"{reason}\"}}");
        assert_eq!(scrape.value(&ended), Some(0), "its stream lives {reason}");
    }
    drop(deaf);
    still_serves(&server).await;
}

#[tokio::test]
async fn max_connections_are_open_and_no_more() {
    let server = Server::with(|config| config.limits.max_connections = 2).await;
    let (a, b) = (server.connect().await, server.connect().await);
    let a = Proxy::hello(a, dataplane("a", "web")).await;
    let _b = Proxy::hello(b, dataplane("b", "web")).await;
    for _ in 0..3 {
        let mut refused = TcpStream::connect(server.grpc()).await.unwrap();
        assert_eq!(closed(&mut refused).await, b"");
    }
    // One that leaves makes room, once the server has seen it go.
    drop(a);
    let find_room = async {
        loop {
            if let Ok(channel) = endpoint(server.grpc()).connect().await
                && let Ok(mut line) = Line::try_open(channel).await
            {
                line.say(hello(dataplane("c", "web")));
                if line.hear.message().await.is_ok() {
                    return line;
                }
            }
        }
    };
    let _c = soon("a place", find_room).await;
    assert_eq!(server.app.registry().snapshot().workloads.len(), 1);
}

#[tokio::test]
async fn one_connection_may_open_only_so_many_streams() {
    let server = Server::with(|config| config.limits.max_streams_per_connection = 2).await;
    let channel = server.connect().await;
    let a = Proxy::hello(channel.clone(), dataplane("a", "web")).await;
    let _b = Proxy::hello(channel.clone(), dataplane("b", "web")).await;
    // The third waits in the client until the first has left.
    let third = tokio::spawn(Proxy::hello(channel, dataplane("c", "web")));
    still_serves(&server).await;
    assert!(!third.is_finished());
    a.goodbye().await;
    let _c = soon("the third", third).await.unwrap();
    assert_eq!(server.counts("web").await, (2, 0, 2));
}
