//! Heartbeats: they detect a failure behind a proxy that answers PINGs itself.

use std::time::Duration;

use headcount::{
    convert,
    proto::{
        HealthState, Heartbeat, Hello, session_request::Message as Request,
        session_response::Message as Response,
    },
};
use prost_types::Duration as ProtoDuration;
use tokio::time::{Instant, interval};
use tonic::Code;

use crate::{
    proxy::{Proxy, SessionStream, health},
    support::{Server, assert_status, dataplane, in_time},
};

/// The shortest interval.
const INTERVAL: Duration = Duration::from_secs(1);

fn hello(name: &str, heartbeat_interval: Option<ProtoDuration>) -> Request {
    Request::Hello(Hello { dataplane: Some(dataplane(name, "web")), heartbeat_interval, ..Hello::default() })
}

/// A session that has stated the shortest interval, on a new connection.
async fn connect(server: &Server, name: &str) -> Proxy {
    let mut stream = SessionStream::open(server.connect().await).await;
    stream.send(hello(name, Some(convert::duration(INTERVAL))));
    let Response::Welcome(welcome) = stream.receive().await else {
        panic!("a hello is answered with a welcome");
    };
    let mut proxy = Proxy::welcomed(stream);
    proxy.welcome = welcome;
    proxy
}

async fn heartbeat(proxy: &mut Proxy) {
    proxy.stream.send(Request::Heartbeat(Heartbeat {}));
    let response = proxy.stream.receive().await;
    assert!(matches!(response, Response::HeartbeatAck(_)), "{response:?}");
}

#[tokio::test]
async fn an_interval_out_of_range_is_rejected() {
    let server = Server::start().await;
    let edges = [(1, 0), (30, 0)];
    for (seconds, nanos) in edges {
        let mut stream = SessionStream::open(server.connect().await).await;
        stream.send(hello("a", Some(ProtoDuration { seconds, nanos })));
        assert!(matches!(stream.receive().await, Response::Welcome(_)));
    }
    for (seconds, nanos) in [(0, 0), (0, 999_999_999), (-6, 0), (30, 1), (i64::MAX, i32::MAX)] {
        let mut stream = SessionStream::open(server.connect().await).await;
        stream.send(hello("b", Some(ProtoDuration { seconds, nanos })));
        let parts = ["hello.heartbeat_interval: ", "must be between 1s and 30s"];
        assert_status(&stream.end().await, Code::InvalidArgument, &parts);
    }
    assert_eq!(server.counts("web").await.2, 1, "a rejected dataplane is not registered");
}

#[tokio::test]
async fn the_welcome_confirms_the_timeout() {
    let server = Server::start().await;
    let proxy = connect(&server, "a").await;
    assert_eq!(proxy.welcome.heartbeat_timeout, Some(ProtoDuration { seconds: 3, nanos: 0 }));
    let without = server.proxy(dataplane("b", "web")).await;
    assert_eq!(without.welcome.heartbeat_timeout, None);
}

#[tokio::test]
async fn heartbeats_and_reports_are_acknowledged_in_order() {
    let server = Server::start().await;
    let mut proxy = connect(&server, "a").await;
    let beat = || Request::Heartbeat(Heartbeat {});
    for request in [beat(), health(1, HealthState::Ready), beat(), beat(), health(2, HealthState::Ready)] {
        proxy.stream.send(request);
    }
    let mut acks = Vec::new();
    for _ in 0..5 {
        acks.push(match proxy.stream.receive().await {
            Response::Ack(ack) => Some(ack.sequence),
            Response::HeartbeatAck(_) => None,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(acks, [None, Some(1), None, None, Some(2)]);
    // A client that has stated no interval may send heartbeats too.
    heartbeat(&mut server.proxy(dataplane("b", "web")).await).await;
}

/// The connection answers PINGs, as a proxy in front of a dead client does.
#[tokio::test]
async fn a_session_without_heartbeats_is_lost_and_one_with_them_is_not() {
    let server = Server::start().await;
    let (mut active, mut silent) = (connect(&server, "a").await, connect(&server, "b").await);
    silent.ready().await;
    active.ready().await;
    assert_eq!(server.counts("web").await, (2, 2, 2));
    let began = Instant::now();
    let active_until_lost = async {
        let mut ticks = interval(INTERVAL);
        loop {
            ticks.tick().await;
            heartbeat(&mut active).await;
        }
    };
    let ended = tokio::select! {
        ended = silent.stream.end() => ended,
        () = active_until_lost => unreachable!("it never ends"),
    };
    assert_status(&ended, Code::DeadlineExceeded, &["no report or heartbeat within 3s"]);
    assert!(began.elapsed() > 2 * INTERVAL, "{:?}", began.elapsed());
    assert_eq!(server.counts("web").await, (1, 1, 2));
    in_time("an ack", heartbeat(&mut active)).await;
    server.wait_for_metric(r#"headcount_sessions_ended_total{reason="idle"}"#, 1).await;
}
