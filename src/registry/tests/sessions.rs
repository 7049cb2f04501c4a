//! Sessions: connect, report, takeover, loss, goodbye.

use tokio::time::Instant;

use super::{super::Notice, *};

#[test]
fn a_session_is_counted_for_as_long_as_it_lives() {
    let registry = registry();
    let mut session = join(&registry, "a", "web");
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    session.report(report(1, HealthState::Ready));
    assert_eq!(counts(&registry, "web"), Some((1, 1, 1)));
    drop(session);
    assert_eq!(
        counts(&registry, "web"),
        Some((0, 0, 1)),
        "health ends with the session, registration does not"
    );
}

#[test]
fn a_goodbye_ends_session_and_registration() {
    let registry = registry();
    join(&registry, "a", "web").goodbye();
    assert_eq!(counts(&registry, "web"), None);
    assert_eq!(registry.dataplanes(|_| true, 10, None).0.len(), 0);
    assert_eq!(registry.groups(), []);
}

#[test]
fn a_report_that_changes_nothing_takes_no_revision() {
    let registry = registry();
    let mut session = join(&registry, "a", "web");
    session.report(report(1, HealthState::Ready));
    let before = registry.head();
    session.report(report(2, HealthState::Ready));
    assert_eq!(registry.head(), before);
    let (views, _) = registry.dataplanes(|_| true, 10, None);
    assert_eq!(views[0].session.unwrap().1.sequence, 2, "though the report is stored");
}

#[test]
fn the_newest_session_counts_and_the_end_of_an_older_one_changes_nothing() {
    let registry = registry();
    let mut older = join(&registry, "a", "web");
    older.report(report(1, HealthState::Ready));
    let mut newer = join(&registry, "a", "web");
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)), "health is unknown until the new session reports");
    newer.report(report(1, HealthState::Ready));
    let before = registry.head();
    older.report(report(2, HealthState::NotReady));
    drop(older);
    assert_eq!(registry.head(), before);
    assert_eq!(counts(&registry, "web"), Some((1, 1, 1)));
    drop(newer);
    assert_eq!(counts(&registry, "web"), Some((0, 0, 1)));
}

#[tokio::test]
async fn a_takeover_notifies_the_older_session() {
    let registry = registry();
    let older = join(&registry, "a", "web");
    let _newer = join(&registry, "a", "web");
    assert_eq!(older.notice().await, Notice::Superseded);
}

#[tokio::test]
async fn a_drain_notifies_open_and_later_sessions() {
    let registry = registry();
    let here = join(&registry, "a", "web");
    registry.drain();
    let late = join(&registry, "b", "web");
    assert_eq!((here.notice().await, late.notice().await), (Notice::Draining, Notice::Draining));
    assert_eq!(counts(&registry, "web"), Some((2, 0, 2)), "they count until they go");
    let _newer = join(&registry, "a", "web");
    assert_eq!(here.notice().await, Notice::Superseded, "the latest notice replaces the first");
}

#[test]
fn the_goodbye_of_a_superseded_session_does_not_unregister() {
    let registry = registry();
    let older = join(&registry, "a", "web");
    let _newer = join(&registry, "a", "web");
    older.goodbye();
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
}

#[test]
fn a_takeover_that_names_another_workload_is_one_transition() {
    let registry = registry();
    let mut older = join(&registry, "a", "web");
    let _peer = join(&registry, "b", "web");
    older.report(report(1, HealthState::Ready));
    let before = registry.head();
    let _newer = join(&registry, "a", "api");
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    assert_eq!(counts(&registry, "api"), Some((1, 0, 1)));
    let batch = registry.shared.log.read(before, registry.head(), 1).unwrap();
    assert_eq!(batch.len(), 2, "readers see both changes together");
}

#[test]
fn a_lost_dataplane_may_return_to_another_workload() {
    let registry = registry();
    drop(join(&registry, "a", "web"));
    let _back = join(&registry, "a", "api");
    assert_eq!((counts(&registry, "web"), counts(&registry, "api")), (None, Some((1, 0, 1))));
}

#[test]
fn a_dataplane_without_the_label_belongs_to_no_workload() {
    let registry = registry();
    let mut session = join(&registry, "a", "");
    session.report(report(1, HealthState::Ready));
    assert_eq!(registry.head(), 0);
    assert!(registry.snapshot().workloads.is_empty());
    let groups = registry.groups();
    assert_eq!((groups.len(), groups[0].counts.healthy, groups[0].holds), (1, 1, false));
}

#[tokio::test(start_paused = true)]
async fn a_lost_dataplane_is_unregistered_when_its_retention_ends() {
    let registry = registry();
    let running = tokio::spawn({
        let registry = registry.clone();
        async move { registry.run().await }
    });
    let mut announced = registry.subscribe();
    let start = Instant::now();
    drop(join(&registry, "a", "web"));
    tokio::time::advance(Duration::from_secs(10)).await;
    drop(join(&registry, "b", "web"));
    let returned = join(&registry, "b", "web");
    while counts(&registry, "web") == Some((1, 0, 2)) {
        announced.changed().await.unwrap();
    }
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    assert_eq!(start.elapsed().as_secs(), 15 * 60);
    drop(returned);
    while counts(&registry, "web").is_some() {
        announced.changed().await.unwrap();
    }
    assert_eq!(start.elapsed().as_secs(), 30 * 60, "each loss starts the retention again");
    running.abort();
}

#[test]
fn without_retention_a_loss_unregisters() {
    let registry = Registry::new(RegistrySettings { retention: Duration::ZERO, ..settings() });
    drop(join(&registry, "a", "web"));
    assert_eq!(counts(&registry, "web"), None);
}

#[test]
fn a_stale_attempt_changes_nothing_after_its_successor_was_lost() {
    let registry = registry();
    drop(join_as(&registry, agent(7, 2)).unwrap());
    assert_eq!(join_as(&registry, agent(7, 1)).unwrap_err(), ConnectError::Superseded);
    assert_eq!(counts(&registry, "web"), Some((0, 0, 1)));
    let _next = join_as(&registry, agent(7, 3)).unwrap();
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
}

/// The network may deliver a hello after the goodbye of the agent's next session.
#[tokio::test(start_paused = true)]
async fn a_stale_attempt_changes_nothing_after_the_goodbye_of_its_successor() {
    for retention in [Duration::from_mins(15), Duration::ZERO] {
        let registry = Registry::new(RegistrySettings { retention, ..settings() });
        let session = join_as(&registry, agent(7, 2)).unwrap();
        // Without retention a loss unregisters like a goodbye.
        let end = if retention.is_zero() { drop } else { Session::goodbye };
        end(session);
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(join_as(&registry, agent(7, 1)).unwrap_err(), ConnectError::Superseded);
        assert_eq!((counts(&registry, "web"), registry.shared.capacity.sessions()), (None, 0));
        // A restarted agent is not compared, and the stale attempt does not take over from it.
        let restarted = join_as(&registry, agent(8, 1)).unwrap();
        assert_eq!(join_as(&registry, agent(7, 1)).unwrap_err(), ConnectError::Superseded);
        assert_eq!((restarted.notice().now_or_never(), counts(&registry, "web")), (None, Some((1, 0, 1))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_drain_spread_does_not_shrink_while_the_clients_leave() {
    let registry = Registry::new(RegistrySettings { max_session_rate: 100, ..settings() });
    let mut sessions = Vec::new();
    for number in 0..500 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        sessions.push(join(&registry, &format!("{number}"), "web"));
    }
    assert_eq!(registry.drain_spread(), Duration::ZERO);
    registry.drain();
    let spread = registry.drain_spread();
    assert_eq!(spread, Duration::from_secs(5), "500 sessions at 100 per second");
    sessions.truncate(10);
    assert_eq!(registry.drain_spread(), spread);
}
