//! Headers without end or of unbounded size: CONTINUATION floods (CVE-2024-27316), HPACK bombs
//! (CVE-2016-6581), large header lists.

use std::iter::{once, repeat_n};

use headcount::proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use tonic::{Request, Status};

use crate::{
    harness::{ENHANCE_YOUR_CALM, in_time, survives},
    http2::{Connection, End, SESSION, flag, frame, header_block, kind, literal},
    support::Server,
};

/// An indexed header field: entry 62, the first of HPACK's dynamic table.
const FIRST_DYNAMIC_ENTRY: u8 = 0x80 | 0x3e;
/// Abusive connections, one after the other.
const CONNECTIONS: usize = 20;
/// KiB. The abuse would fill a hundred times as much.
const GROWTH: u64 = 8 * 1024;

async fn flood(server: &Server, writes: impl Iterator<Item = Vec<u8>>) -> End {
    let connection = Connection::connect(server.grpc, &[]).await.expect("the server listens");
    in_time(connection.flood(writes)).await
}

/// Sends up to 40,000 CONTINUATION frames, which with 1 KB each are 40 MB.
async fn survives_continuations(payload: Vec<u8>) {
    survives("", GROWTH, async |server| {
        for _ in 0..CONNECTIONS {
            let begin = frame(kind::HEADERS, flag::NONE, 1, &header_block(SESSION));
            let more = frame(kind::CONTINUATION, flag::NONE, 1, &payload).repeat(10);
            let end = flood(server, once(begin).chain(repeat_n(more, 4_000))).await;
            assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuation_flood_of_headers() {
    survives_continuations(literal("x-more", &"m".repeat(1_000))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuation_flood_of_empty_frames() {
    survives_continuations(Vec::new()).await;
}

/// The client puts a header of 4 KB into HPACK's dynamic table and refers to it in each byte of a
/// frame: 16 KB on the wire that decode to 48 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hpack_bomb() {
    survives("", GROWTH, async |server| {
        for _ in 0..CONNECTIONS {
            let mut entry = literal("x-bomb", &"b".repeat(4_000));
            entry[0] = 0x40; // with incremental indexing: becomes the first entry
            let block = [header_block(SESSION), entry, vec![FIRST_DYNAMIC_ENTRY; 12_000]].concat();
            let bomb = frame(kind::HEADERS, flag::END_HEADERS, 1, &block);
            let end = flood(server, once(bomb)).await;
            assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM));
        }
    })
    .await;
}

/// Makes one call with a header of this many bytes.
async fn call_with_header(server: &Server, bytes: usize) -> Result<(), Status> {
    let mut request = Request::new(ListWorkloadsRequest::default());
    request.metadata_mut().insert("x-filler", "f".repeat(bytes).parse().expect("ASCII"));
    WorkloadServiceClient::new(server.connect().await).list_workloads(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_size_of_request_headers_is_limited_by_a_setting() {
    survives("--max-header-bytes 2048", GROWTH, async |server| {
        call_with_header(server, 1_500).await.expect("within the limit");
        call_with_header(server, 2_500).await.expect_err("beyond the limit");
    })
    .await;
    survives("", GROWTH, async |server| {
        call_with_header(server, 2_500).await.expect("within the default limit");
        call_with_header(server, 17_000).await.expect_err("beyond the default limit");
    })
    .await;
}
