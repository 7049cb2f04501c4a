//! Streams that the client resets at once (CVE-2023-44487), opens with invalid headers so that the
//! server resets them (CVE-2025-8671), or opens beyond the limit.

use std::iter::once;

use crate::{
    harness::{ENHANCE_YOUR_CALM, in_time, survives},
    http2::{Connection, SESSION, flag, frame, header_block, kind, literal},
    support::Server,
};

const GROWTH: u64 = 8 * 1024;
/// The error code `CANCEL`.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Encodes HEADERS with this block for each of `count` streams, each followed by `then(stream id)`.
fn streams(count: u32, block: &[u8], then: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let one = |n: u32| {
        let id = 2 * n + 1;
        [frame(kind::HEADERS, flag::END_HEADERS, id, block), then(id)].concat()
    };
    (0..count).flat_map(one).collect()
}

fn rapid_resets(count: u32) -> Vec<u8> {
    streams(count, &header_block(SESSION), |id| frame(kind::RST_STREAM, flag::NONE, id, &CANCEL))
}

/// HTTP/2 forbids the `connection` header: the server resets each of these streams.
fn invalid_streams(count: u32) -> Vec<u8> {
    streams(count, &[header_block(SESSION), literal("connection", "close")].concat(), |_| Vec::new())
}

async fn connect(server: &Server) -> Connection {
    Connection::connect(server.grpc, &[]).await.expect("the server listens")
}

/// Returns whether a connection survives these bytes.
async fn is_alive_after(server: &Server, bytes: &[u8]) -> bool {
    let mut connection = connect(server).await;
    connection.send(bytes).await.is_ok() && in_time(connection.is_alive()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset() {
    survives("", GROWTH, async |server| {
        for _ in 0..50 {
            let end = in_time(connect(server).await.flood(once(rapid_resets(10_000)))).await;
            assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_resets_are_limited_by_a_setting() {
    survives("--max-pending-resets 400", GROWTH, async |server| {
        assert!(is_alive_after(server, &rapid_resets(300)).await);
        let end = in_time(connect(server).await.flood(once(rapid_resets(10_000)))).await;
        assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_of_invalid_streams_are_limited_by_a_setting() {
    survives("--max-error-resets 50", GROWTH, async |server| {
        assert!(is_alive_after(server, &invalid_streams(50)).await);
        assert!(!is_alive_after(server, &invalid_streams(51)).await);
    })
    .await;
    survives("", GROWTH, async |server| {
        assert!(is_alive_after(server, &invalid_streams(1_024)).await);
        let end = in_time(connect(server).await.flood(once(invalid_streams(20_000)))).await;
        assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM));
    })
    .await;
}

/// The server refuses streams beyond the limit, and closes the connection of a client that keeps opening them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_of_a_connection() {
    let open = |count| streams(count, &header_block(SESSION), |_| Vec::new());
    survives("--max-streams-per-connection 100 --max-error-resets 50", GROWTH, async |server| {
        assert!(is_alive_after(server, &open(150)).await);
        let end = in_time(connect(server).await.flood(once(open(10_000)))).await;
        assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM));
    })
    .await;
}
