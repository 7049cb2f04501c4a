//! Headers without end or without measure: CONTINUATION floods
//! (CVE-2024-27316), HPACK bombs (CVE-2016-6581), large lists.

use std::iter::{once, repeat_n};

use headcount::proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use tonic::{Request, Status};

use crate::{
    http2::{End, Line, SESSION, flag, frame, header_block, kind, literal},
    stage::{CALM, flood_ends, survives},
    support::Server,
};

/// A header by its index in HPACK's table: 62, behind the static ones.
const FIRST_OF_TABLE: u8 = 0x80 | 0x3e;
/// One after the other.
const ABUSERS: usize = 20;
/// KiB, of which the abusers try to fill a hundred times as much.
const GROWTH: u64 = 8 * 1024;

async fn abuse(server: &Server, say: impl Iterator<Item = Vec<u8>>) -> End {
    let line = Line::connect(server.grpc, &[]).await.expect("it listens");
    flood_ends(line.abuse(say)).await
}

/// Each more than enough: 40 MB.
async fn survives_continuations(payload: Vec<u8>) {
    survives("", GROWTH, async |server| {
        for _ in 0..ABUSERS {
            let begin = frame(kind::HEADERS, flag::NONE, 1, &header_block(SESSION));
            let more = frame(kind::CONTINUATION, flag::NONE, 1, &payload).repeat(10);
            let end = abuse(server, once(begin).chain(repeat_n(more, 4_000))).await;
            assert_eq!(end.goaway, Some(CALM));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuations_full_of_headers() {
    survives_continuations(literal("x-more", &"m".repeat(1_000))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuations_of_nothing() {
    survives_continuations(Vec::new()).await;
}

/// A header of 4 KB in HPACK's table, and a frame of bytes that each mean it:
/// 16 KB that would be 65 MB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_list_out_of_almost_nothing() {
    survives("", GROWTH, async |server| {
        for _ in 0..ABUSERS {
            let mut entry = literal("x-bomb", &"b".repeat(4_000));
            entry[0] = 0x40; // goes into the table, as its first
            let block = [header_block(SESSION), entry, vec![FIRST_OF_TABLE; 12_000]].concat();
            let bomb = frame(kind::HEADERS, flag::END_HEADERS, 1, &block);
            let end = abuse(server, once(bomb)).await;
            assert_eq!(end.goaway, Some(CALM));
        }
    })
    .await;
}

/// One call with so many bytes in a header.
async fn call_with(server: &Server, bytes: usize) -> Result<(), Status> {
    let mut request = Request::new(ListWorkloadsRequest::default());
    request.metadata_mut().insert("x-filler", "f".repeat(bytes).parse().expect("ASCII"));
    WorkloadServiceClient::new(server.connect().await).list_workloads(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_many_headers_a_request_may_have_is_a_setting() {
    survives("--max-header-bytes 2048", GROWTH, async |server| {
        call_with(server, 1_500).await.expect("within the bound");
        call_with(server, 2_500).await.expect_err("beyond it");
    })
    .await;
    survives("", GROWTH, async |server| {
        call_with(server, 2_500).await.expect("within the bound that it has by itself");
        call_with(server, 17_000).await.expect_err("beyond it");
    })
    .await;
}
