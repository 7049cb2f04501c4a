//! Envoys beyond `--max-sessions`. Envoy has no backoff, so it retries forever, at the documented rate.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    fixture::{Fixture, WORKLOAD, assert_never_above},
    support::{get, retry},
};

/// Returns how many sessions were rejected because of the limit.
async fn rejected(http: SocketAddr) -> u64 {
    let (_, metrics) = get(http, "/metrics").await.expect("a response");
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("headcount_shed_total{limit=\"max-sessions\"} "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn an_envoy_beyond_the_limit_retries_twice_a_second_until_it_is_admitted() {
    const ATTEMPTS: u64 = 8;
    let Some(fixture) = Fixture::start("--max-sessions 2").await else { return };
    let mut watch = fixture.server.watch(WORKLOAD).await;
    let (one, _two) = tokio::join!(fixture.proxy("web-1"), fixture.proxy("web-2"));
    watch.until(Some([2, 2, 2])).await;

    let three = fixture.proxy("web-3").await;
    let http = fixture.server.http;
    let wait_for_rejections = async |count| {
        retry(&format!("{count} rejections"), async || (rejected(http).await >= count).then_some(())).await;
    };
    wait_for_rejections(1).await;
    let start = Instant::now();
    wait_for_rejections(1 + ATTEMPTS).await;
    // Each delay is uniform in 0 to 1 s: together 4 s on average, with a standard deviation of 0.8 s.
    let after = start.elapsed();
    println!("{ATTEMPTS} attempts in {after:.1?}");
    assert!(after > Duration::from_millis(1_500) && after < Duration::from_secs(8), "{after:?}");
    assert!(three.envoy.admin.is_ready().await);

    one.envoy.kill();
    watch.until(Some([1, 1, 2])).await;
    let start = Instant::now();
    watch.until(Some([2, 2, 3])).await;
    let after = start.elapsed();
    assert!(after < Duration::from_secs(3), "one retry delay and the first reports: {after:?}");
    assert_never_above(&watch, 3);
}
