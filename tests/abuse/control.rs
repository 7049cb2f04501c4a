//! Floods of control frames, which cost the client nothing and which the server must read or answer:
//! PING (CVE-2019-9512), SETTINGS (CVE-2019-9515), PRIORITY (CVE-2019-9513), `WINDOW_UPDATE`, empty
//! DATA (CVE-2019-9518).

use std::iter::repeat_n;

use crate::{
    harness::{ENHANCE_YOUR_CALM, in_time, survives},
    http2::{Connection, SESSION, flag, frame, header_block, kind, settings},
    process_stats::open_files,
    support::retry,
};

/// Frames per write.
const CHUNK: usize = 1_000;
const CHUNKS: usize = 100;
/// KiB. A connection has two buffers of about 16 KiB, and the allocator retains some memory.
const GROWTH: u64 = 8 * 1024;
/// These clients answer no PING: with this interval the server closes their connections after 4 s instead of 8.
const FLAGS: &str = "--keepalive-interval 1s";

/// Floods the server from a client that reads the answers and from one that does not. Unread answers
/// must not pile up in the server.
async fn survives_a_flood_of(one: Vec<u8>) {
    let chunk = one.repeat(CHUNK);
    survives(FLAGS, GROWTH, async |server| {
        let reads = Connection::connect(server.grpc, &[]).await.expect("the server listens");
        let reads_nothing =
            Connection::connect_with_small_buffer(server.grpc, &[]).await.expect("the server listens");
        tokio::join!(
            in_time(reads.flood(repeat_n(chunk.clone(), CHUNKS))),
            in_time(reads_nothing.flood_without_reading(&chunk))
        );
    })
    .await;
}

/// The socket is full of answers, so the GOAWAY cannot be sent either; the server closes without
/// waiting for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_its_ping_answers_is_disconnected() {
    let chunk = frame(kind::PING, flag::NONE, 0, &[7; 8]).repeat(CHUNK);
    survives(FLAGS, GROWTH, async |server| {
        let before = open_files(server);
        let reads_nothing =
            Connection::connect_with_small_buffer(server.grpc, &[]).await.expect("the server listens");
        in_time(reads_nothing.flood_without_reading(&chunk)).await;
        retry("the connection is closed", async || (open_files(server) <= before).then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_flood() {
    survives_a_flood_of(frame(kind::PING, flag::NONE, 0, &[7; 8])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_flood() {
    survives_a_flood_of(settings(&[(1, 4_096), (3, 100), (4, 65_535), (5, 16_384)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priority_flood_for_a_stream_that_does_not_exist() {
    survives_a_flood_of(frame(kind::PRIORITY, flag::NONE, 77, &[0, 0, 0, 9, 16])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_update_flood_of_one_byte_each() {
    survives_a_flood_of(frame(kind::WINDOW_UPDATE, flag::NONE, 0, &[0, 0, 0, 1])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_flood() {
    survives("", GROWTH, async |server| {
        let open = frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(SESSION));
        let empty = frame(kind::DATA, flag::NONE, 1, &[]).repeat(CHUNK);
        let connection = Connection::connect(server.grpc, &[]).await.expect("the server listens");
        let end = in_time(connection.flood(std::iter::once(open).chain(repeat_n(empty, CHUNKS)))).await;
        assert_eq!(end.goaway, Some(ENHANCE_YOUR_CALM));
    })
    .await;
}
