//! Envoys that are killed, stopped, and started again.

use std::time::Duration;

use crate::{
    stage::{AT_ONCE, Stage, never_more_than},
    support::Signal,
};

#[tokio::test]
async fn an_envoy_that_is_gone_is_missed_and_never_counted_twice() {
    let Some(stage) = Stage::set("").await else { return };
    let ([mut one, two, _three], mut watch) = stage.three().await;

    one.envoy.kill();
    stage.shows("an Envoy that is killed", &mut watch, [2, 2, 3], AT_ONCE).await;
    one.envoy.start_again().await;
    watch.until(Some([3, 3, 3])).await;

    two.envoy.signal(Signal::STOP);
    let after = stage.shows("an Envoy that is stopped", &mut watch, [2, 2, 3], Duration::from_secs(10)).await;
    assert!(after > AT_ONCE, "by its silence, which takes a while to notice: {after:?}");
    two.envoy.signal(Signal::CONT);
    watch.until(Some([3, 3, 3])).await;

    stage.agrees([3, 3, 3]).await;
    never_more_than(&watch, 3);
}
