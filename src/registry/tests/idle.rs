//! Idle timeouts.

use tokio::time::{Instant, advance};

use super::{super::Notice, *};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A session with an idle timeout.
fn idle_after(registry: &Registry, name: &str, timeout: Duration) -> Session {
    connect_with(registry, dataplane(name, "web"), ConnectOptions::new(timeout)).unwrap().session
}

/// The counts after some more seconds.
async fn after(registry: &Registry, seconds: u64) -> Option<(u32, u32, u32)> {
    advance(Duration::from_secs(seconds)).await;
    registry.shared.lose_idle(Instant::now());
    counts(registry, "web")
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_is_lost_after_the_timeout_and_notified() {
    let registry = registry();
    let mut idle = idle_after(&registry, "a", TIMEOUT);
    let mut active = idle_after(&registry, "b", TIMEOUT);
    idle.report(report(1, HealthState::Ready));
    assert_eq!(after(&registry, 6).await, Some((2, 1, 2)));
    active.report(report(1, HealthState::Ready));
    assert_eq!(after(&registry, 3).await, Some((2, 2, 2)));
    assert_eq!(after(&registry, 1).await, Some((1, 1, 2)));
    assert_eq!(idle.notice().await, Notice::Idle);
    active.touch();
    assert_eq!(after(&registry, 9).await, Some((1, 1, 2)));
    // Its next report is too late, and its end changes nothing.
    idle.report(report(2, HealthState::Ready));
    drop(idle);
    assert_eq!(after(&registry, 0).await, Some((1, 1, 2)));
    assert_eq!(after(&registry, 1).await, Some((0, 0, 2)));
}

#[tokio::test(start_paused = true)]
async fn before_the_first_message_the_timeout_has_a_grace() {
    let registry = registry();
    let idle = IdlePolicy { timeout: TIMEOUT, startup_grace: TIMEOUT / 2 };
    let options = ConnectOptions { idle, ..ConnectOptions::new(TIMEOUT) };
    let sessions = ["a", "b"]
        .map(|name| connect_with(&registry, dataplane(name, "web"), options.clone()).unwrap().session);
    assert_eq!(after(&registry, 3).await, Some((2, 0, 2)));
    sessions[0].touch();
    assert_eq!(after(&registry, 9).await, Some((2, 0, 2)));
    assert_eq!(after(&registry, 1).await, Some((1, 0, 2)), "the one that has sent a message");
    assert_eq!(after(&registry, 2).await, Some((0, 0, 2)));
}

#[tokio::test(start_paused = true)]
async fn each_session_has_its_own_timeout_until_it_ends() {
    let registry = registry();
    let (ends, leaves) = (idle_after(&registry, "a", TIMEOUT), idle_after(&registry, "b", TIMEOUT));
    let _short = idle_after(&registry, "c", TIMEOUT / 5);
    let _unlimited = idle_after(&registry, "d", Duration::MAX);
    let taken_over = idle_after(&registry, "e", TIMEOUT);
    let _newer = idle_after(&registry, "e", TIMEOUT);
    assert_eq!(registry.shared.idle.len(), 6);
    drop((ends, taken_over));
    leaves.goodbye();
    assert_eq!(registry.shared.idle.len(), 3);
    assert_eq!(after(&registry, 2).await, Some((2, 0, 4)));
    assert_eq!(after(&registry, 60).await, Some((1, 0, 4)), "the one without a limit stays");
    assert_eq!(registry.shared.idle.len(), 1);
}

/// Sessions of two Workloads and of a second mesh fall idle before one check. One is healthy and one
/// was taken over.
#[tokio::test(start_paused = true)]
async fn sessions_that_fall_idle_together_change_one_revision_each_in_the_order_of_their_timeouts() {
    let registry = registry();
    let open = |name, workload, seconds| {
        let options = ConnectOptions::new(Duration::from_secs(seconds));
        connect_with(&registry, dataplane(name, workload), options).unwrap().session
    };
    let mut sessions =
        [open("a", "web", 10), open("b", "web", 30), open("c", "api", 20), open("d", "api", 5)];
    sessions[0].report(report(1, HealthState::Ready));
    let _taken_over = open("e", "api", 15);
    let _newer = open("e", "api", 25);
    let options = ConnectOptions::new(Duration::from_secs(1));
    let _of_another_mesh = connect_with(&registry, dataplane_in("other", "a", "web"), options).unwrap();
    registry.drain();
    let before = registry.head();
    assert_eq!((counts(&registry, "web"), counts(&registry, "api")), (Some((2, 1, 2)), Some((3, 0, 3))));
    let revisions = || ["web", "api"].map(|name| registry.get(&key(name)).0.unwrap().revision - before);

    assert_eq!(after(&registry, 60).await, Some((0, 0, 2)));
    assert_eq!(counts(&registry, "api"), Some((0, 0, 3)));
    // d, a, c, e, b: neither the session that was taken over nor the other mesh changes a Workload.
    assert_eq!((registry.head() - before, revisions()), (5, [5, 4]));
    assert_eq!(after(&registry, 60).await, Some((0, 0, 2)));
    drop(sessions);
    assert_eq!((registry.head() - before, registry.shared.idle.len()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn the_earliest_timeout_ends_the_wait_even_if_it_began_later() {
    let (registry, start) = (registry(), Instant::now());
    let _later = idle_after(&registry, "a", 10 * TIMEOUT);
    let lost = async {
        let later = async {
            tokio::task::yield_now().await;
            idle_after(&registry, "b", TIMEOUT)
        };
        later.await.notice().await
    };
    tokio::select! {
        () = registry.run() => unreachable!("it runs until dropped"),
        notice = lost => assert_eq!(notice, Notice::Idle),
    }
    assert_eq!(start.elapsed(), TIMEOUT);
}
