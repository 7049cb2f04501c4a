//! More sessions than a balancer's defaults allow.

use crate::fixture::{Fixture, with_each_balancer};

/// More than the 1,024 requests of an Envoy cluster, and with 150 sessions on each connection more than the
/// 100 streams of haproxy and the 128 of nginx.
const PROXIES: usize = 1_500;
const CONNECTIONS: usize = 10;

#[tokio::test]
async fn a_crowd_is_counted_exactly() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let load = fixture.client(&format!(
            "simulate --proxies {PROXIES} --connections {CONNECTIONS} --flaps 100 --duration 2s"
        ));
        let ended = load.end().await.expect_exit(0);
        println!("{kind:?}: {}", ended.out);
    })
    .await;
}
