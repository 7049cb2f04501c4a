//! Applications and Envoys that are well, ill, and well again.

use std::time::Duration;

use crate::{
    stage::{Stage, never_more_than},
    support::Signal,
};

/// Promised at default settings: a check is due within a second, and a report
/// within a quarter.
const PROMISE: Duration = Duration::from_secs(2);
/// And who does not answer has half a second to do so.
const PROMISE_OF_A_HANG: Duration = Duration::from_millis(2_500);

#[tokio::test]
async fn what_ails_an_application_or_an_envoy_shows_within_two_seconds() {
    let Some(stage) = Stage::set("").await else { return };
    let ([mut one, two, three], mut watch) = stage.three().await;

    one.application.kill();
    stage.shows("an application that is killed", &mut watch, [3, 2, 3], PROMISE).await;
    one.application.start_again().await;
    stage.shows("and started again", &mut watch, [3, 3, 3], PROMISE).await;

    // The kernel goes on to accept connections, and nobody answers.
    two.application.signal(Signal::STOP);
    stage.shows("one that is stopped", &mut watch, [3, 2, 3], PROMISE_OF_A_HANG).await;
    two.application.signal(Signal::CONT);
    stage.shows("and goes on", &mut watch, [3, 3, 3], PROMISE).await;

    three.envoy.admin.order("/healthcheck/fail").await;
    stage.shows("an Envoy that is told to fail", &mut watch, [3, 2, 3], PROMISE).await;
    three.envoy.admin.order("/healthcheck/ok").await;
    stage.shows("and to be well", &mut watch, [3, 3, 3], PROMISE).await;
    never_more_than(&watch, 3);
}
