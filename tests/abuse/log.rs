//! What is said of a storm: not a line for each drop.

use std::iter::repeat_n;

use tokio::net::TcpStream;

use crate::{
    http2::{Line, SESSION, flag, frame, framed, header_block, kind},
    stage::flood_ends,
    support::{Server, Signal, dataplane, get, hello, retry},
};
use headcount::proto::SessionRequest;

/// Lines that a storm of some seconds may have: 20 in 5 s.
const LINES: usize = 150;

/// The storm is summed up, and its log is short.
async fn is_summed_up(server: Server, about: &str) {
    server.program.says("left_out=").await;
    server.program.signal(Signal::TERM);
    let ended = server.program.end().await.with(0);
    let about = ended.err.lines().filter(|line| line.contains(about)).count();
    assert!((20..LINES).contains(&about), "{about} lines\n{}", &ended.err[..ended.err.len().min(4_000)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_refused_connections() {
    let server = Server::start("--max-connections 2").await;
    let _two = (Line::connect(server.grpc, &[]).await, Line::connect(server.grpc, &[]).await);
    for _ in 0..3_000 {
        TcpStream::connect(server.grpc).await.expect("it listens");
    }
    retry("each is counted", async || {
        let (_, metrics) = get(server.http, "/metrics").await?;
        metrics.contains("headcount_shed_total{limit=\"max-connections\"} 3000\n").then_some(())
    })
    .await;
    is_summed_up(server, "max-connections is reached").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_refused_hellos() {
    let server = Server::start("").await;
    let bad = hello(dataplane("default", "Not A Name", "a"));
    let bad = framed(&SessionRequest { message: Some(bad) });
    let mut line = Line::connect(server.grpc, &[]).await.expect("it listens");
    for n in 0..3_000 {
        let id = 2 * n + 1;
        let open = frame(kind::HEADERS, flag::END_HEADERS, id, &header_block(SESSION));
        let say = [open, frame(kind::DATA, flag::END_STREAM, id, &bad)].concat();
        line.send(&say).await.expect("it takes bytes");
        let ended = line.until(|heard| heard.stream == id && heard.flags & flag::END_STREAM != 0);
        flood_ends(ended).await.expect("an answer");
    }
    is_summed_up(server, "Not A Name").await;
}

/// h2 warns of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_answers_that_nobody_asked_for() {
    let server = Server::start("").await;
    let pong = frame(kind::PING, flag::ACK, 0, &[7; 8]).repeat(1_000);
    let line = Line::connect(server.grpc, &[]).await.expect("it listens");
    flood_ends(line.abuse(repeat_n(pong, 20))).await;
    is_summed_up(server, "that we never sent").await;
}
