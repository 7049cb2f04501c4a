//! A thousand watchers that never read, while tens of thousands of changes
//! happen: each costs bounded memory, and the others nothing.

use std::env;

use headcount::proto::{HealthState, WatchWorkloadsRequest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    figures::memory,
    http2::{
        HUGE_WINDOW, Line, Sessions, WATCH, flag, frame, framed, header_block, kind, open_wide, setting,
    },
    stage::{flood_ends, survives},
    support::{Server, dataplane, hello},
};

/// Dataplanes that change their health, all at once, again and again.
const PROXIES: u32 = 1_000;
/// Of so many workloads: a watcher's message of all of them has some 20 KB.
const WORKLOADS: u32 = 100;
/// KiB for the registry, the changes in the log, and the reporters.
const BESIDES: u64 = 64 * 1024;

/// How many, if the variable does not say more: `make soak` does.
fn count(variable: &str, by_itself: u32) -> u32 {
    env::var(variable).map_or(by_itself, |count| count.parse().expect("a number"))
}

/// A watch of everything, on a line of its own.
async fn watch(mut line: Line) -> Line {
    let all = framed(&WatchWorkloadsRequest::default());
    let open = frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(WATCH));
    line.send(&[open, frame(kind::DATA, flag::END_STREAM, 1, &all)].concat()).await.expect("it listens");
    line
}

async fn reporters(server: &Server) -> Sessions {
    let hello =
        |n| hello(dataplane("default", &format!("flapping-{}", n % WORKLOADS), &format!("proxy-{n}")));
    let opened = flood_ends(Sessions::open(server.grpc, (0..PROXIES).map(hello))).await;
    opened.expect("all are let in")
}

/// All acks come, and a watcher that reads sees the end.
async fn changes(server: &Server, reporters: &mut Sessions) {
    let mut reader = server.watch("flapping-7").await;
    let each = PROXIES / WORKLOADS;
    for _ in 0..count("HEADCOUNT_ABUSE_ROUNDS", 40) / 2 {
        for state in [HealthState::Ready, HealthState::NotReady] {
            flood_ends(reporters.report(state)).await.expect("all acks");
        }
    }
    reader.until(Some([each, 0, each])).await;
}

/// What each watcher costs the server, in KiB, at the end of all changes.
async fn cost_of(server: &Server, lines: u32, changes: impl AsyncFnOnce()) -> u64 {
    server.has_watchers(lines + 1).await;
    let before = memory(server);
    changes().await;
    let grown = memory(server).saturating_sub(before);
    println!("{} KiB for each of {lines} watchers that do not read", grown / u64::from(lines));
    grown / u64::from(lines)
}

/// They answer PINGs, but never give back the window that the first messages
/// have used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_never_open_their_window() {
    let lines = count("HEADCOUNT_ABUSE_WATCHERS", 1_000);
    survives("", BESIDES + u64::from(lines) * 128, async |server| {
        let mut sessions = reporters(server).await;
        let (mut answering, over) = (JoinSet::new(), CancellationToken::new());
        for _ in 0..lines {
            let mut line = watch(Line::connect(server.grpc, &[]).await.expect("it listens")).await;
            let over = over.clone();
            answering.spawn(async move { over.run_until_cancelled(line.until(|_| false)).await.is_none() });
        }
        let cost = cost_of(server, lines, async || changes(server, &mut sessions).await).await;
        assert!(cost <= 128, "{cost} KiB");
        over.cancel();
        assert!(answering.join_all().await.into_iter().all(|held| held), "they held out to the end");
        drop(sessions);
    })
    .await;
}

/// They give a window of 2 GiB, and do not read from their sockets: nobody
/// answers PINGs, so they would soon be cut; here they are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_never_read_their_sockets() {
    let lines = count("HEADCOUNT_ABUSE_DEAF_WATCHERS", 200);
    survives("--keepalive-timeout 5m", BESIDES + u64::from(lines) * 768, async |server| {
        let mut sessions = reporters(server).await;
        let mut deaf = Vec::new();
        for _ in 0..lines {
            let settings = [(setting::INITIAL_WINDOW_SIZE, HUGE_WINDOW)];
            let line = Line::narrow(server.grpc, &settings).await.expect("it listens");
            deaf.push(watch(open_wide(line).await.expect("it listens")).await);
        }
        let cost = cost_of(server, lines, async || changes(server, &mut sessions).await).await;
        assert!(cost <= 768, "{cost} KiB");
        drop(sessions);
    })
    .await;
}

/// With the settings that everybody has, they are gone within 9 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_at_all_is_cut() {
    survives("", BESIDES, async |server| {
        let mut deaf = Vec::new();
        for _ in 0..100 {
            deaf.push(watch(Line::narrow(server.grpc, &[]).await.expect("it listens")).await);
        }
        server.has_watchers(101).await;
        server.has_watchers(1).await;
    })
    .await;
}
