//! Streams that are opened to be reset (CVE-2023-44487), opened wrong
//! (CVE-2025-8671), or too many.

use std::iter::once;

use crate::{
    http2::{Line, SESSION, flag, frame, header_block, kind, literal},
    stage::{CALM, flood_ends, survives},
    support::Server,
};

const GROWTH: u64 = 8 * 1024;
/// `CANCEL`
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Opens streams one after the other, each with this header block, and says
/// something on each.
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

/// HTTP/2 has no such header: a stream with it is refused, by a reset.
fn mistakes(count: u32) -> Vec<u8> {
    streams(count, &[header_block(SESSION), literal("connection", "close")].concat(), |_| Vec::new())
}

async fn line(server: &Server) -> Line {
    Line::connect(server.grpc, &[]).await.expect("it listens")
}

/// Whether a connection still lives after this.
async fn lives_after(server: &Server, bytes: &[u8]) -> bool {
    let mut line = line(server).await;
    line.send(bytes).await.is_ok() && flood_ends(line.lives()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset() {
    survives("", GROWTH, async |server| {
        for _ in 0..50 {
            let end = flood_ends(line(server).await.abuse(once(rapid_resets(10_000)))).await;
            assert_eq!(end.goaway, Some(CALM));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_many_resets_may_be_pending_is_a_setting() {
    survives("--max-pending-resets 400", GROWTH, async |server| {
        assert!(lives_after(server, &rapid_resets(300)).await);
        let end = flood_ends(line(server).await.abuse(once(rapid_resets(10_000)))).await;
        assert_eq!(end.goaway, Some(CALM));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_many_streams_may_be_reset_for_mistakes_is_a_setting() {
    survives("--max-error-resets 50", GROWTH, async |server| {
        assert!(lives_after(server, &mistakes(50)).await);
        assert!(!lives_after(server, &mistakes(51)).await);
    })
    .await;
    survives("", GROWTH, async |server| {
        assert!(lives_after(server, &mistakes(1_024)).await);
        let end = flood_ends(line(server).await.abuse(once(mistakes(20_000)))).await;
        assert_eq!(end.goaway, Some(CALM));
    })
    .await;
}

/// Those beyond the bound are refused, and who goes on is cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_a_connection_may_have() {
    let open = |count| streams(count, &header_block(SESSION), |_| Vec::new());
    survives("--max-streams-per-connection 100 --max-error-resets 50", GROWTH, async |server| {
        assert!(lives_after(server, &open(150)).await);
        let end = flood_ends(line(server).await.abuse(once(open(10_000)))).await;
        assert_eq!(end.goaway, Some(CALM));
    })
    .await;
}
