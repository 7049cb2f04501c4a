//! Applications and Envoys that are well, ill, and well again.

use std::time::Duration;

use crate::{
    stage::{Stage, never_more_than},
    support::Signal,
};

/// Promised at default settings; see the flags of `headcount serve`.
const PROMISE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn what_ails_an_application_or_an_envoy_shows_within_two_seconds() {
    let Some(stage) = Stage::set("").await else { return };
    let ([mut one, two, three], mut watch) = stage.three().await;

    one.application.kill();
    let after = stage.until(&mut watch, [3, 2, 3]).await;
    assert!(after < PROMISE, "killed: {after:?}");
    one.application.start_again().await;
    let after = stage.until(&mut watch, [3, 3, 3]).await;
    assert!(after < PROMISE, "started again: {after:?}");

    // The kernel goes on to accept connections, and nobody answers.
    two.application.signal(Signal::STOP);
    let after = stage.until(&mut watch, [3, 2, 3]).await;
    assert!(after < PROMISE, "stopped: {after:?}");
    two.application.signal(Signal::CONT);
    let after = stage.until(&mut watch, [3, 3, 3]).await;
    assert!(after < PROMISE, "goes on: {after:?}");

    three.envoy.admin.order("/healthcheck/fail").await;
    let after = stage.until(&mut watch, [3, 2, 3]).await;
    assert!(after < PROMISE, "told to fail: {after:?}");
    three.envoy.admin.order("/healthcheck/ok").await;
    let after = stage.until(&mut watch, [3, 3, 3]).await;
    assert!(after < PROMISE, "told to be well: {after:?}");
    never_more_than(&watch, 3);
}
