//! Log lines during a flood: the log is rate limited, and states how many lines were left out.

use std::iter::repeat_n;

use tokio::net::TcpStream;

use crate::{
    harness::in_time,
    http2::{Connection, SESSION, flag, frame, framed, header_block, kind},
    support::{Proxy, Server, Signal, dataplane, get, hello, retry},
};
use headcount::proto::SessionRequest;

/// Most lines about one flood of a few seconds: at most 20 are written in 5 s.
const LINES: usize = 150;

/// Waits for a summary of left-out lines, and checks that few lines contain `about`.
async fn is_summarized(server: Server, about: &str) {
    server.program.wait_for_stderr("left_out=").await;
    server.program.signal(Signal::TERM);
    let ended = server.program.end().await.expect_exit(0);
    let lines = ended.err.lines().filter(|line| line.contains(about)).count();
    assert!((20..LINES).contains(&lines), "{lines} lines\n{}", &ended.err[..ended.err.len().min(4_000)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_connections_are_summarized() {
    let server = Server::start("--max-connections 2").await;
    // Connections with a session keep their places.
    let session =
        async |name| Proxy::open(server.connect().await, [hello(dataplane("default", "web", name))]).await;
    let _two = (session("a").await, session("b").await);
    for _ in 0..3_000 {
        TcpStream::connect(server.grpc).await.expect("the server listens");
    }
    retry("each is counted", async || {
        let (_, metrics) = get(server.http, "/metrics").await?;
        metrics.contains("headcount_shed_total{limit=\"max-connections\"} 3000\n").then_some(())
    })
    .await;
    is_summarized(server, "max-connections is reached").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_hellos_are_summarized() {
    let server = Server::start("").await;
    let invalid = hello(dataplane("default", "Not A Name", "a"));
    let invalid = framed(&SessionRequest { message: Some(invalid) });
    let mut connection = Connection::connect(server.grpc, &[]).await.expect("the server listens");
    for n in 0..3_000 {
        let id = 2 * n + 1;
        let open = frame(kind::HEADERS, flag::END_HEADERS, id, &header_block(SESSION));
        let call = [open, frame(kind::DATA, flag::END_STREAM, id, &invalid)].concat();
        connection.send(&call).await.expect("an open connection");
        let end = connection.read_until(|frame| frame.stream == id && frame.flags & flag::END_STREAM != 0);
        in_time(end).await.expect("a response");
    }
    is_summarized(server, "Not A Name").await;
}

/// h2 logs a warning for each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsolicited_ping_acks_are_summarized() {
    let server = Server::start("").await;
    let pong = frame(kind::PING, flag::ACK, 0, &[7; 8]).repeat(1_000);
    let connection = Connection::connect(server.grpc, &[]).await.expect("the server listens");
    in_time(connection.flood(repeat_n(pong, 20))).await;
    is_summarized(server, "that we never sent").await;
}
