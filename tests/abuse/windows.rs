//! Clients that let nothing through, and clients that send more than they may.

use crate::{
    http2::{Frame, Line, SESSION, WATCH, flag, frame, framed, header_block, kind, setting},
    stage::{flood_ends, sessions, survives},
    support::{Server, dataplane, get, hello, ready, retry},
};
use headcount::proto::{SessionRequest, WatchWorkloadsRequest};

const LINES: u32 = 10;
/// Of each line, sessions and watches.
const STREAMS: u32 = 50;
/// KiB for each stream: what an idle one costs, in a debug build.
const PER_STREAM: u64 = 24;
/// `FLOW_CONTROL_ERROR`
const FLOW_CONTROL: u32 = 3;

/// A line with many sessions and as many watches, on which the server may say
/// so many bytes each, ever.
async fn stingy(server: &Server, number: u32, window: u32) -> Line {
    let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
    let mut line = Line::connect(server.grpc, &settings).await.expect("it listens");
    let said = |message| framed(&SessionRequest { message: Some(message) });
    let mut say = Vec::new();
    for n in 0..STREAMS {
        let dataplane = dataplane("default", &format!("stingy-{n}"), &format!("stingy-{number}-{n}"));
        let (session, watch) = (4 * n + 1, 4 * n + 3);
        say.extend(frame(kind::HEADERS, flag::END_HEADERS, session, &header_block(SESSION)));
        say.extend(frame(kind::DATA, flag::NONE, session, &said(hello(dataplane))));
        say.extend(frame(kind::DATA, flag::NONE, session, &said(ready())));
        say.extend(frame(kind::HEADERS, flag::END_HEADERS, watch, &header_block(WATCH)));
        let all = framed(&WatchWorkloadsRequest::default());
        say.extend(frame(kind::DATA, flag::END_STREAM, watch, &all));
    }
    line.send(&say).await.expect("it takes bytes");
    line
}

async fn survives_windows_of(bytes: u32) {
    survives("", u64::from(LINES * STREAMS * 2) * PER_STREAM, async |server| {
        let mut lines = Vec::new();
        for number in 0..LINES {
            lines.push(stingy(server, number, bytes).await);
        }
        let called = LINES * STREAMS;
        retry("all calls have come", async || {
            let (_, metrics) = get(server.http, "/metrics").await?;
            let of =
                |line: &&str| line.starts_with("grpc_server_started_total") && line.contains("\"Session\"");
            let started = metrics.lines().find(of)?.rsplit_once(' ')?.1.parse::<u32>().ok()?;
            (started == called + 1).then_some(())
        })
        .await;
        // One message ahead is taken even where none can be sent: the welcome.
        retry("all are let in", async || (sessions(server).await == u64::from(called) + 1).then_some(()))
            .await;
        for line in &mut lines {
            assert!(flood_ends(line.lives()).await, "it holds little, and may");
        }
        drop(lines);
        retry("all are gone", async || (sessions(server).await == 1).then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_nothing() {
    survives_windows_of(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_one_byte() {
    survives_windows_of(1).await;
}

/// A session that is not read because it can't be answered, and so many bytes
/// of a report: what that is answered with, if it is too much.
async fn send_beyond(server: &Server, frames: usize) -> Option<u32> {
    let settings = [(setting::INITIAL_WINDOW_SIZE, 0)];
    let mut line = Line::connect(server.grpc, &settings).await.expect("it listens");
    assert!(flood_ends(line.lives()).await, "and the server's settings are agreed on");
    let said = hello(dataplane("default", "beyond", &format!("beyond-{frames}")));
    let hello = framed(&SessionRequest { message: Some(said) });
    let say = [
        frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(SESSION)),
        frame(kind::DATA, flag::NONE, 1, &hello),
        frame(kind::DATA, flag::NONE, 1, &[0; 8 * 1024]).repeat(frames),
    ];
    line.send(&say.concat()).await.expect("it takes bytes");
    // A reset is behind the answer to the first PING, and before that to the next.
    let mut heard = None;
    for payload in [*b"all read", *b"all said"] {
        line.send(&frame(kind::PING, flag::NONE, 0, &payload)).await.expect("it takes bytes");
        let wanted = |heard: &Frame| {
            matches!(heard.kind, kind::RST_STREAM | kind::GOAWAY)
                || heard.kind == kind::PING && heard.payload == payload
        };
        let next = flood_ends(line.until(wanted)).await.expect("an answer").expect("an answer");
        heard = heard.or(next.reason().filter(|_| next.kind != kind::PING));
    }
    heard
}

/// The hello has used up a little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_beyond_the_window() {
    survives("", 8 * 1024, async |server| {
        assert_eq!(send_beyond(server, 7).await, None);
        assert_eq!(send_beyond(server, 8).await, Some(FLOW_CONTROL));
    })
    .await;
    survives("--stream-window-bytes 16384", 8 * 1024, async |server| {
        assert_eq!(send_beyond(server, 1).await, None);
        assert_eq!(send_beyond(server, 2).await, Some(FLOW_CONTROL));
    })
    .await;
}
