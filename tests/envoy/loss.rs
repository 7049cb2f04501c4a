//! Envoys that are killed, stopped, and started again.

use std::time::Duration;

use crate::{
    fixture::{Fixture, IMMEDIATE, assert_never_above},
    support::Signal,
};

#[tokio::test]
async fn an_envoy_that_is_lost_and_returns_is_never_counted_twice() {
    let Some(fixture) = Fixture::start("").await else { return };
    let ([mut one, two, _three], mut watch) = fixture.three_proxies().await;

    one.envoy.kill();
    fixture.expect_counts("an Envoy is killed", &mut watch, [2, 2, 3], IMMEDIATE).await;
    one.envoy.start_again().await;
    watch.until(Some([3, 3, 3])).await;

    two.envoy.signal(Signal::STOP);
    let after =
        fixture.expect_counts("an Envoy is stopped", &mut watch, [2, 2, 3], Duration::from_secs(10)).await;
    assert!(after > IMMEDIATE, "a stopped Envoy is detected by missing reports: {after:?}");
    two.envoy.signal(Signal::CONT);
    watch.until(Some([3, 3, 3])).await;

    fixture.assert_list_and_metrics([3, 3, 3]).await;
    assert_never_above(&watch, 3);
}
