//! Clients that grant (almost) no flow-control window, and clients that exceed the server's.

use crate::{
    harness::{connected, in_time, survives},
    http2::{Connection, Frame, SESSION, WATCH, flag, frame, framed, header_block, kind, setting},
    support::{Server, dataplane, get, hello, ready, retry},
};
use headcount::proto::{SessionRequest, WatchWorkloadsRequest};

const CONNECTIONS: u32 = 10;
/// Sessions of each connection, and as many watches.
const STREAMS: u32 = 50;
/// KiB: what an idle stream costs in a debug build.
const GROWTH_PER_STREAM: u64 = 24;
/// The error code `FLOW_CONTROL_ERROR`.
const FLOW_CONTROL_ERROR: u32 = 3;

/// Opens a connection with many sessions and as many watches. The server may send `window` bytes on
/// each stream, ever.
async fn open_streams(server: &Server, number: u32, window: u32) -> Connection {
    let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
    let mut connection = Connection::connect(server.grpc, &settings).await.expect("the server listens");
    let request = |message| framed(&SessionRequest { message: Some(message) });
    let mut bytes = Vec::new();
    for n in 0..STREAMS {
        let dataplane = dataplane("default", &format!("window-{n}"), &format!("window-{number}-{n}"));
        let (session, watch) = (4 * n + 1, 4 * n + 3);
        bytes.extend(frame(kind::HEADERS, flag::END_HEADERS, session, &header_block(SESSION)));
        bytes.extend(frame(kind::DATA, flag::NONE, session, &request(hello(dataplane))));
        bytes.extend(frame(kind::DATA, flag::NONE, session, &request(ready())));
        bytes.extend(frame(kind::HEADERS, flag::END_HEADERS, watch, &header_block(WATCH)));
        let all = framed(&WatchWorkloadsRequest::default());
        bytes.extend(frame(kind::DATA, flag::END_STREAM, watch, &all));
    }
    connection.send(&bytes).await.expect("an open connection");
    connection
}

async fn survives_windows_of(window: u32) {
    survives("", u64::from(CONNECTIONS * STREAMS * 2) * GROWTH_PER_STREAM, async |server| {
        let mut connections = Vec::new();
        for number in 0..CONNECTIONS {
            connections.push(open_streams(server, number, window).await);
        }
        let sessions = CONNECTIONS * STREAMS;
        retry("all calls have started", async || {
            let (_, metrics) = get(server.http, "/metrics").await?;
            let of_sessions =
                |line: &&str| line.starts_with("grpc_server_started_total") && line.contains("\"Session\"");
            let started = metrics.lines().find(of_sessions)?.rsplit_once(' ')?.1.parse::<u32>().ok()?;
            (started == sessions + 1).then_some(())
        })
        .await;
        // The server queues one message that cannot be sent yet, the welcome, so the hello is handled.
        let all = u64::from(sessions) + 1;
        retry("all are admitted", async || (connected(server).await == all).then_some(())).await;
        for connection in &mut connections {
            assert!(in_time(connection.is_alive()).await, "a small window is allowed");
        }
        drop(connections);
        retry("all are gone", async || (connected(server).await == 1).then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_zero_bytes() {
    survives_windows_of(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_one_byte() {
    survives_windows_of(1).await;
}

/// Opens a session that the server does not read, because it cannot send its response, and sends this
/// many frames of 8 KiB. Returns the error code with which the server ends the stream, if it does.
async fn send_unread(server: &Server, frames: usize) -> Option<u32> {
    let settings = [(setting::INITIAL_WINDOW_SIZE, 0)];
    let mut connection = Connection::connect(server.grpc, &settings).await.expect("the server listens");
    assert!(in_time(connection.is_alive()).await, "the server's SETTINGS have been exchanged");
    let dataplane = dataplane("default", "unread", &format!("unread-{frames}"));
    let hello = framed(&SessionRequest { message: Some(hello(dataplane)) });
    let call = [
        frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(SESSION)),
        frame(kind::DATA, flag::NONE, 1, &hello),
        frame(kind::DATA, flag::NONE, 1, &[0; 8 * 1024]).repeat(frames),
    ];
    connection.send(&call.concat()).await.expect("an open connection");
    // The server may send a reset after the answer to the first PING, but before that to the second.
    let mut error_code = None;
    for payload in [*b"1st ping", *b"2nd ping"] {
        connection.send(&frame(kind::PING, flag::NONE, 0, &payload)).await.expect("an open connection");
        let wanted = |received: &Frame| {
            matches!(received.kind, kind::RST_STREAM | kind::GOAWAY)
                || received.kind == kind::PING && received.payload == payload
        };
        let received = in_time(connection.read_until(wanted)).await.expect("a frame").expect("a frame");
        error_code = error_code.or(received.error_code().filter(|_| received.kind != kind::PING));
    }
    error_code
}

/// The window is 64 KiB, or the setting, minus what the hello has used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_beyond_the_stream_window_is_a_flow_control_error() {
    survives("", 8 * 1024, async |server| {
        assert_eq!(send_unread(server, 7).await, None);
        assert_eq!(send_unread(server, 8).await, Some(FLOW_CONTROL_ERROR));
    })
    .await;
    survives("--stream-window-bytes 16384", 8 * 1024, async |server| {
        assert_eq!(send_unread(server, 1).await, None);
        assert_eq!(send_unread(server, 2).await, Some(FLOW_CONTROL_ERROR));
    })
    .await;
}
