//! A thousand watchers that never read, while there are tens of thousands of changes: each costs
//! bounded memory, and the other clients are served as before.

use std::env;

use headcount::proto::{HealthState, WatchWorkloadsRequest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    harness::{in_time, survives},
    http2::{
        Connection, HUGE_WINDOW, Sessions, WATCH, flag, frame, framed, header_block, kind,
        open_connection_window, setting,
    },
    process_stats::memory,
    support::{Server, dataplane, hello},
};

/// Dataplanes that change their health over and over, all at once.
const PROXIES: u32 = 1_000;
/// Workloads of these dataplanes. A watch message with all of them has about 20 KB.
const WORKLOADS: u32 = 100;
/// KiB for everything but the watchers: the registry, the change log, the sessions.
const BASE_GROWTH: u64 = 64 * 1024;

/// Returns a size from the environment: `make soak` sets larger ones.
fn size(variable: &str, default: u32) -> u32 {
    env::var(variable).map_or(default, |size| size.parse().expect("a number"))
}

/// Opens a watch of all Workloads on this connection.
async fn watch(mut connection: Connection) -> Connection {
    let all = framed(&WatchWorkloadsRequest::default());
    let open = frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(WATCH));
    let call = [open, frame(kind::DATA, flag::END_STREAM, 1, &all)].concat();
    connection.send(&call).await.expect("an open connection");
    connection
}

async fn open_sessions(server: &Server) -> Sessions {
    let hello =
        |n| hello(dataplane("default", &format!("flapping-{}", n % WORKLOADS), &format!("proxy-{n}")));
    let opened = in_time(Sessions::open(server.grpc, (0..PROXIES).map(hello))).await;
    opened.expect("all are admitted")
}

/// Changes the health of all dataplanes over and over. All acks must arrive, and a watcher that reads
/// must see the last state.
async fn flap(server: &Server, sessions: &mut Sessions) {
    let mut reader = server.watch("flapping-7").await;
    let each = PROXIES / WORKLOADS;
    for _ in 0..size("HEADCOUNT_ABUSE_ROUNDS", 40) / 2 {
        for state in [HealthState::Ready, HealthState::NotReady] {
            in_time(sessions.report(state)).await.expect("all acks");
        }
    }
    reader.until(Some([each, 0, each])).await;
}

/// Returns what each watcher costs the server during `changes`, in KiB.
async fn cost_per_watcher(server: &Server, watchers: u32, changes: impl AsyncFnOnce()) -> u64 {
    server.wait_for_watchers(watchers + 1).await;
    let before = memory(server);
    changes().await;
    let grown = memory(server).saturating_sub(before);
    println!("{} KiB for each of {watchers} watchers that do not read", grown / u64::from(watchers));
    grown / u64::from(watchers)
}

/// The clients answer PINGs, but never return the flow-control window that the first messages use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_never_open_their_window() {
    let watchers = size("HEADCOUNT_ABUSE_WATCHERS", 1_000);
    survives("", BASE_GROWTH + u64::from(watchers) * 128, async |server| {
        let mut sessions = open_sessions(server).await;
        let (mut open, stop) = (JoinSet::new(), CancellationToken::new());
        for _ in 0..watchers {
            let connection = Connection::connect(server.grpc, &[]).await.expect("the server listens");
            let mut connection = watch(connection).await;
            let stop = stop.clone();
            open.spawn(
                async move { stop.run_until_cancelled(connection.read_until(|_| false)).await.is_none() },
            );
        }
        let cost = cost_per_watcher(server, watchers, async || flap(server, &mut sessions).await).await;
        assert!(cost <= 128, "{cost} KiB");
        stop.cancel();
        assert!(open.join_all().await.into_iter().all(|open| open), "the server has closed no connection");
        drop(sessions);
    })
    .await;
}

/// The clients grant a window of 2 GiB but do not read from their sockets. They answer no PING either,
/// so the default keepalive would close their connections early; here it is long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_never_read_their_sockets() {
    let watchers = size("HEADCOUNT_ABUSE_DEAF_WATCHERS", 200);
    survives("--keepalive-timeout 5m", BASE_GROWTH + u64::from(watchers) * 768, async |server| {
        let mut sessions = open_sessions(server).await;
        let mut unread = Vec::new();
        for _ in 0..watchers {
            let settings = [(setting::INITIAL_WINDOW_SIZE, HUGE_WINDOW)];
            let connection = Connection::connect_with_small_buffer(server.grpc, &settings).await;
            let connection = open_connection_window(connection.expect("the server listens")).await;
            unread.push(watch(connection.expect("an open connection")).await);
        }
        let cost = cost_per_watcher(server, watchers, async || flap(server, &mut sessions).await).await;
        assert!(cost <= 768, "{cost} KiB");
        drop(sessions);
    })
    .await;
}

/// With the default keepalive this takes at most 9 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_never_read_their_sockets_are_disconnected_by_the_keepalive() {
    survives("", BASE_GROWTH, async |server| {
        let mut unread = Vec::new();
        for _ in 0..100 {
            let connection = Connection::connect_with_small_buffer(server.grpc, &[]).await;
            unread.push(watch(connection.expect("the server listens")).await);
        }
        server.wait_for_watchers(101).await;
        server.wait_for_watchers(1).await;
    })
    .await;
}
