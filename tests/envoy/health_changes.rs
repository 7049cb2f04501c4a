//! Applications and Envoys that become unhealthy and healthy again.

use std::time::Duration;

use crate::{
    fixture::{Fixture, assert_never_above},
    support::Signal,
};

/// Bound at default settings, a check and a report every 250 ms, on a busy machine.
const BOUND: Duration = Duration::from_secs(1);
/// Bound for an application that hangs: the timeout of a check is 1 s.
const BOUND_OF_A_HANG: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_change_of_health_is_visible_within_a_second() {
    let Some(fixture) = Fixture::start("").await else { return };
    let ([mut one, two, three], mut watch) = fixture.three_proxies().await;

    one.application.kill();
    fixture.expect_counts("an application is killed", &mut watch, [3, 2, 3], BOUND).await;
    one.application.start_again().await;
    fixture.expect_counts("and started again", &mut watch, [3, 3, 3], BOUND).await;

    // The kernel still accepts connections for a stopped process.
    two.application.signal(Signal::STOP);
    fixture.expect_counts("an application is stopped", &mut watch, [3, 2, 3], BOUND_OF_A_HANG).await;
    two.application.signal(Signal::CONT);
    fixture.expect_counts("and continued", &mut watch, [3, 3, 3], BOUND).await;

    three.envoy.admin.post("/healthcheck/fail").await;
    fixture.expect_counts("an Envoy fails its readiness", &mut watch, [3, 2, 3], BOUND).await;
    three.envoy.admin.post("/healthcheck/ok").await;
    fixture.expect_counts("and is ready again", &mut watch, [3, 3, 3], BOUND).await;
    assert_never_above(&watch, 3);
}
