//! Envoys for whom there is no room. They know no backoff, so they ask for ever,
//! and what README says of their number has to be true.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    stage::{Stage, WORKLOAD, never_more_than},
    support::{get, retry},
};

/// How often somebody was told that there are too many sessions.
async fn shed(http: SocketAddr) -> u64 {
    let (_, metrics) = get(http, "/metrics").await.expect("an answer");
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("headcount_shed_total{limit=\"max-sessions\"} "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn an_envoy_without_room_asks_twice_a_second_until_there_is_some() {
    const ATTEMPTS: u64 = 8;
    let Some(stage) = Stage::set("--max-sessions 2").await else { return };
    let mut watch = stage.server.watch(WORKLOAD).await;
    let (one, _two) = tokio::join!(stage.proxy("web-1"), stage.proxy("web-2"));
    watch.until(Some([2, 2, 2])).await;

    let three = stage.proxy("web-3").await;
    let http = stage.server.http;
    let reaches = async |count| {
        retry(&format!("{count} were shed"), async || (shed(http).await >= count).then_some(())).await;
    };
    reaches(1).await;
    let start = Instant::now();
    reaches(1 + ATTEMPTS).await;
    // Each waits for up to a second, half a second on average: 4 s in all, with
    // a standard deviation of 0.8 s.
    let after = start.elapsed();
    println!("{ATTEMPTS} attempts in {after:.1?}");
    assert!(after > Duration::from_millis(1_500) && after < Duration::from_secs(8), "{after:?}");
    assert!(three.envoy.admin.is_ready().await);

    one.envoy.kill();
    watch.until(Some([1, 1, 2])).await;
    let start = Instant::now();
    watch.until(Some([2, 2, 3])).await;
    let after = start.elapsed();
    assert!(after < Duration::from_secs(3), "a second to ask, and its first reports: {after:?}");
    never_more_than(&watch, 3);
}
