//! Floods of frames that cost their sender nothing and want an answer, or are
//! just to be read: PING (CVE-2019-9512), SETTINGS (CVE-2019-9515), PRIORITY
//! (CVE-2019-9513), `WINDOW_UPDATE`, empty DATA (CVE-2019-9518).

use std::iter::repeat_n;

use crate::{
    figures::open_files,
    http2::{Line, SESSION, flag, frame, header_block, kind, settings},
    stage::{CALM, flood_ends, survives},
    support::retry,
};

/// Of frames, at a time.
const CHUNK: usize = 1_000;
const CHUNKS: usize = 100;
/// KiB: a connection holds two buffers of some 16 KiB, and allocators keep some.
const GROWTH: u64 = 8 * 1024;
/// The flooders answer no PING, so they are cut after 4 s instead of 8.
const FLAGS: &str = "--keepalive-interval 1s";

/// From a client that reads the answers, and from one that does not and goes on
/// for as long as it can: what is not read must not pile up in the server.
async fn survives_a_flood_of(one: Vec<u8>) {
    let chunk = one.repeat(CHUNK);
    survives(FLAGS, GROWTH, async |server| {
        let reads = Line::connect(server.grpc, &[]).await.expect("it listens");
        let deaf = Line::narrow(server.grpc, &[]).await.expect("it listens");
        tokio::join!(
            flood_ends(reads.abuse(repeat_n(chunk.clone(), CHUNKS))),
            flood_ends(deaf.shout(&chunk))
        );
    })
    .await;
}

/// Nothing is taken of the answers, so many that the socket is full: also the
/// server's last word, and its last word is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_whose_answers_fill_the_socket() {
    let chunk = frame(kind::PING, flag::NONE, 0, &[7; 8]).repeat(CHUNK);
    survives(FLAGS, GROWTH, async |server| {
        let before = open_files(server);
        let deaf = Line::narrow(server.grpc, &[]).await.expect("it listens");
        flood_ends(deaf.shout(&chunk)).await;
        retry("its connection is closed", async || (open_files(server) <= before).then_some(())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings() {
    survives_a_flood_of(frame(kind::PING, flag::NONE, 0, &[7; 8])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_again_and_again() {
    survives_a_flood_of(settings(&[(1, 4_096), (3, 100), (4, 65_535), (5, 16_384)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priorities_of_streams_that_are_not_there() {
    survives_a_flood_of(frame(kind::PRIORITY, flag::NONE, 77, &[0, 0, 0, 9, 16])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn window_updates_by_one() {
    survives_a_flood_of(frame(kind::WINDOW_UPDATE, flag::NONE, 0, &[0, 0, 0, 1])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_without_data() {
    survives("", GROWTH, async |server| {
        let open = frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(SESSION));
        let nothing = frame(kind::DATA, flag::NONE, 1, &[]).repeat(CHUNK);
        let line = Line::connect(server.grpc, &[]).await.expect("it listens");
        let end = flood_ends(line.abuse(std::iter::once(open).chain(repeat_n(nothing, CHUNKS)))).await;
        assert_eq!(end.goaway, Some(CALM));
    })
    .await;
}
