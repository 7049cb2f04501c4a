//! How every abuse is tried.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    figures::{memory, quiet},
    support::{DEADLINE, Server, get},
    witness::Witness,
};

/// For each change of the witness. The server shows one in 100 ms, and is busy
/// with the abuse; the machine is so with other tests too.
const PATIENCE: Duration = Duration::from_secs(10);

/// `ENHANCE_YOUR_CALM`: what a flood ends with.
pub(crate) const CALM: u32 = 11;

/// Waits for the end of an abuse, which must come in time.
pub(crate) async fn flood_ends<F: Future>(abuse: F) -> F::Output {
    timeout(DEADLINE, abuse).await.expect("the abuse ends in time")
}

/// Starts a server with these flags, lets `abuse` happen to it while a witness
/// works, and looks at the server afterwards: it is quiet, it has not grown by
/// more than `growth` KiB, and the witness was served in time and is counted
/// exactly, and nobody else is.
pub(crate) async fn survives(flags: &str, growth: u64, abuse: impl AsyncFnOnce(&Server)) {
    let server = Server::start(flags).await;
    let witness = Witness::start(&server).await;
    let before = memory(&server);
    abuse(&server).await;
    let grown = memory(&server).saturating_sub(before);
    let (seen, _proxy) = witness.end().await;
    println!("{seen:?}; the server has grown by {grown} KiB");
    assert!(seen.slowest < PATIENCE, "{seen:?}");
    assert!(grown <= growth, "{grown} KiB, of which {growth} are allowed");
    quiet(&server).await;
    assert_eq!(sessions(&server).await, 1, "the witness");
    server.reaches("witness", [1, 1, 1]).await;
}

/// Connected dataplanes of all meshes, as Prometheus sees them.
pub(crate) async fn sessions(server: &Server) -> u64 {
    let (_, metrics) = get(server.http, "/metrics").await.expect("an answer");
    let of = |line: &str| {
        line.strip_prefix("headcount_mesh_dataplane_proxies_connected{")?
            .rsplit_once(' ')?
            .1
            .parse::<u64>()
            .ok()
    };
    metrics.lines().filter_map(of).sum()
}
