//! A client that registers dataplanes of the largest size, connects them again and again under new names,
//! and leaves them as lost: they take no more memory than the limits allow, and displace no other mesh.

use std::collections::BTreeMap;

use headcount::proto::{
    Dataplane, Hello, Inbound, session_request::Message, session_response::Message as Response,
};
use tonic::Code;

use crate::{
    harness::{connected, in_time, survives},
    support::{Proxy, Server, dataplane, get, hello, ready, retry},
};

/// Bytes that the dataplanes of one mesh may take.
const PER_MESH: usize = 8 * 1024 * 1024;
/// More than the dataplanes of the other meshes take.
const SMALL: usize = 16 * 1024;
/// KiB that the server may grow by: the limit, and as much again for messages, connections and freed
/// memory that the allocator keeps.
const GROWTH: u64 = 3 * PER_MESH as u64 / 1024;
/// Dataplanes that are connected together; they fit into the limit.
const TOGETHER: usize = 50;
/// How often as many new ones follow: together they take ten times the limit.
const ROUNDS: usize = 15;

/// A hello of nearly 64 KiB, the largest that the server accepts. No text of it is in another one, so
/// that the server can't share memory.
fn largest(number: usize) -> Message {
    let text = |n: usize| format!("{number:031}{n:032}");
    let tag = |n: usize| (format!("{number:060}{n:060}"), "x".repeat(120));
    let labels = (0..63).map(|n| (format!("{}.example/{}", text(n), text(n)), text(n)));
    let inbound = |port: u32| Inbound { port, name: text(1), tags: (0..3).map(tag).collect() };
    let small = dataplane("hostile", &format!("w{number}"), &format!("p{number}"));
    let labels: BTreeMap<_, _> = small.labels.into_iter().chain(labels).collect();
    let dataplane = Dataplane { labels, inbounds: (1..=58).map(inbound).collect(), ..small };
    Message::Hello(Hello { dataplane: Some(dataplane), ..Hello::default() })
}

/// Opens sessions on one connection; returns those that are admitted.
async fn open(server: &Server, hellos: impl Iterator<Item = Message>) -> Vec<Proxy> {
    let (channel, mut admitted) = (server.connect().await, Vec::new());
    for hello in hellos {
        let mut proxy = in_time(Proxy::open(channel.clone(), [hello])).await;
        match in_time(proxy.next_response()).await {
            Ok(Response::Welcome(_)) => admitted.push(proxy),
            Ok(other) => panic!("expected a welcome, got {other:?}"),
            Err(rejected) => assert_eq!(rejected.code(), Code::ResourceExhausted, "{rejected:?}"),
        }
    }
    admitted
}

async fn metric(server: &Server, series: &str) -> usize {
    let (_, metrics) = get(server.http, "/metrics").await.expect("a response");
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.expect(series).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_of_the_largest_size_take_bounded_memory() {
    let flags = format!("--max-registered-bytes {} --max-registered-bytes-per-mesh {PER_MESH}", 2 * PER_MESH);
    survives(&flags, GROWTH, async |server| {
        for round in 0..ROUNDS {
            let sessions = open(server, (0..TOGETHER).map(|n| largest(round * TOGETHER + n))).await;
            assert_eq!(sessions.len(), TOGETHER, "lost dataplanes make room for new ones");
            drop(sessions);
            retry("all are lost", async || (connected(server).await == 1).then_some(())).await;
            assert!(metric(server, "headcount_registered_bytes").await <= PER_MESH + SMALL);
        }
        let sessions = open(server, (0..2 * TOGETHER).map(|n| largest(ROUNDS * TOGETHER + n))).await;
        assert!((TOGETHER..2 * TOGETHER).contains(&sessions.len()), "{} fit", sessions.len());
        let shed = "headcount_shed_total{limit=\"max-registered-bytes-per-mesh\"}";
        assert_eq!(metric(server, shed).await, 2 * TOGETHER - sessions.len());
        // Another mesh has room.
        let hello = hello(dataplane("default", "other", "other"));
        let mut other = Proxy::open(server.connect().await, [hello, ready()]).await;
        assert!(matches!(other.next_response().await, Ok(Response::Welcome(_))));
        assert!(matches!(other.next_response().await, Ok(Response::Ack(_))));
        server.wait_for_counts("other", [1, 1, 1]).await;
        drop(sessions);
        drop(other);
        retry("all are lost", async || (connected(server).await == 1).then_some(())).await;
    })
    .await;
}
