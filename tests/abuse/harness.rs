//! The shape of every abuse test.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    background_client::BackgroundClient,
    process_stats::{memory, wait_until_idle},
    support::{DEADLINE, Server, get},
};

/// Longest delivery of one change of the background client. The server shows one every 100 ms; the
/// rest is for a machine that is busy with the abuse and with other tests.
const MAX_DELIVERY: Duration = Duration::from_secs(10);

/// `ENHANCE_YOUR_CALM`, the error code with which the server ends a flood.
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// Waits for one step of an abusive client, which must complete within the deadline.
pub(crate) async fn in_time<F: Future>(step: F) -> F::Output {
    timeout(DEADLINE, step).await.expect("the abuse ends within the deadline")
}

/// Starts a server with these flags and runs `abuse` against it beside a background client.
///
/// Afterwards the server must be idle, must not have grown by more than `growth` KiB, and must count
/// the background client's proxy and no other. Every change of that client must have been delivered
/// in time.
pub(crate) async fn survives(flags: &str, growth: u64, abuse: impl AsyncFnOnce(&Server)) {
    let server = Server::start(flags).await;
    let client = BackgroundClient::start(&server).await;
    let before = memory(&server);
    abuse(&server).await;
    let grown = memory(&server).saturating_sub(before);
    let (deliveries, _proxy) = client.stop().await;
    println!("{deliveries:?}; the server has grown by {grown} KiB");
    assert!(deliveries.slowest < MAX_DELIVERY, "{deliveries:?}");
    assert!(grown <= growth, "the server has grown by {grown} KiB; {growth} KiB are allowed");
    wait_until_idle(&server).await;
    assert_eq!(connected(&server).await, 1, "only the background client is connected");
    server.wait_for_counts("background", [1, 1, 1]).await;
}

/// Connected dataplanes of all meshes, from the metrics.
pub(crate) async fn connected(server: &Server) -> u64 {
    let (_, metrics) = get(server.http, "/metrics").await.expect("a response");
    let of_line = |line: &str| {
        line.strip_prefix("headcount_mesh_dataplane_proxies_connected{")?
            .rsplit_once(' ')?
            .1
            .parse::<u64>()
            .ok()
    };
    metrics.lines().filter_map(of_line).sum()
}
