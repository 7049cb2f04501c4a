//! Two living processes of one identity.

use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout};

use super::{
    super::{events::Event, shared::MAX_HOLDS},
    *,
};

fn retry_after(held: &Result<Session, ConnectError>) -> Duration {
    match held {
        Err(ConnectError::HeldOff { retry_after, .. }) => *retry_after,
        other => panic!("{other:?}"),
    }
}

fn events(registry: &Registry) -> Vec<Arc<Event>> {
    registry.events().after(0).0
}

/// Envoys return whenever they are superseded.
#[tokio::test(start_paused = true)]
async fn two_envoys_change_the_counts_once_and_cause_one_event() {
    let registry = registry();
    let envoy = |port| ConnectOptions {
        client: connection(port),
        retry: RetryBehavior::IgnoresRetryAfter,
        ..ConnectOptions::new(Duration::MAX)
    };
    let mut first = registry.connect(dataplane("a", "web"), envoy(1)).await.unwrap().session;
    first.report(report(1, HealthState::Ready));
    let mut second = registry.connect(dataplane("a", "web"), envoy(2)).await.unwrap().session;
    second.report(report(1, HealthState::Ready));
    let (before, start) = (registry.head(), Instant::now());
    let reports = async {
        let mut sequence = 1;
        loop {
            sleep(Duration::from_millis(250)).await;
            sequence += 1;
            second.report(report(sequence, HealthState::Ready));
        }
    };
    let returns = async {
        while start.elapsed() < Duration::from_mins(5) {
            let held = registry.connect(dataplane("a", "web"), envoy(1)).await;
            assert!(matches!(held, Err(ConnectError::HeldOff { .. })), "{held:?}");
            sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = reports => {}
        () = returns => {}
    }
    assert_eq!((registry.head(), counts(&registry, "web")), (before, Some((1, 1, 1))));
    assert_eq!(registry.held_off(), 10, "each attempt takes 30 s");
    let [event] = <[_; 1]>::try_from(events(&registry)).unwrap();
    assert_eq!((event.reason.as_str(), event.regarding.workload()), ("DuplicateIdentity", None));
    for part in ["dataplane default/default/a", "10.0.0.1:2 is connected", "10.0.0.1:1 is held off"] {
        assert!(event.message.contains(part), "{}", event.message);
    }
    assert!((20..=30).contains(&event.count), "{}", event.count);

    // The one that is held off connects as soon as the other one has gone.
    let waits = registry.connect(dataplane("a", "web"), envoy(1));
    tokio::pin!(waits);
    timeout(Duration::from_secs(10), &mut waits).await.unwrap_err();
    drop(second);
    let lost_at = Instant::now();
    let _first = waits.await.unwrap();
    assert!(lost_at.elapsed() <= Duration::from_secs(1));
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
}

/// Their dataplanes are in memory but not registered, so no other limit counts them.
#[tokio::test(start_paused = true)]
async fn beyond_a_limit_envoys_are_rejected_instead_of_held_off_in_their_streams() {
    let registry = registry();
    let envoy = |port| ConnectOptions {
        client: connection(port),
        retry: RetryBehavior::IgnoresRetryAfter,
        ..ConnectOptions::new(Duration::MAX)
    };
    let _first = registry.connect(dataplane("a", "web"), envoy(1)).await.unwrap();
    let second = registry.connect(dataplane("a", "web"), envoy(2)).await.unwrap();
    let hello = || Box::pin(registry.connect(dataplane("a", "web"), envoy(1)));
    let mut held: Vec<_> = (0..MAX_HOLDS).map(|_| hello()).collect();
    for hello in &mut held {
        assert!(hello.as_mut().now_or_never().is_none(), "its stream stays open");
    }
    let rejected = hello().now_or_never();
    assert!(matches!(rejected, Some(Err(ConnectError::HeldOff { .. }))), "{rejected:?}");
    // A client that leaves makes room for another one.
    held.pop();
    assert!(hello().now_or_never().is_none());
    drop(second);
    sleep(Duration::from_secs(1)).await;
    assert!(held.pop().unwrap().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn of_two_supervised_agents_one_is_held_off_until_the_other_leaves() {
    let registry = registry();
    let mut first = join_as(&registry, agent(1, 1)).unwrap();
    first.report(report(1, HealthState::Ready));
    let mut second = join_as(&registry, agent(2, 1)).unwrap();
    second.report(report(1, HealthState::Ready));
    assert_eq!(first.successor(), Some(agent(2, 1)));
    drop(first);
    let (before, start, mut attempts) = (registry.head(), Instant::now(), 0);
    while start.elapsed() < Duration::from_mins(5) {
        attempts += 1;
        sleep(retry_after(&join_as(&registry, agent(3, attempts)))).await;
    }
    assert_eq!((registry.head(), registry.held_off()), (before, attempts.into()));
    let [event] = <[_; 1]>::try_from(events(&registry)).unwrap();
    assert_eq!(event.reason.as_str(), "DuplicateIdentity");
    assert!(event.message.contains("(instance 0000000000000003) is held off"), "{}", event.message);
    second.goodbye();
    let _third = join_as(&registry, agent(3, attempts + 1)).expect("at once");
}

/// Each of a thousand agents reconnects ten times before the server detects that its connection
/// is dead, as after a fault of a load balancer.
#[tokio::test(start_paused = true)]
async fn a_crowd_of_agents_that_reconnects_is_no_conflict() {
    let registry = Registry::new(RegistrySettings { max_session_rate: usize::MAX, ..settings() });
    let mut open = Vec::new();
    for number in 1..=10 {
        for instance in 1..=1_000 {
            let options = ConnectOptions {
                client: Client { peer: connection(number).peer, ..agent(instance, number.into()) },
                ..ConnectOptions::new(Duration::MAX)
            };
            let dataplane = dataplane(&format!("p{instance}"), "web");
            open.push(connect_with(&registry, dataplane, options).expect("its agent is known").session);
        }
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!((registry.held_off(), registry.shared.histories.len()), (0, 0));
    assert_eq!((counts(&registry, "web"), events(&registry).len()), (Some((1_000, 0, 1_000)), 0));
}

/// Envoys have no instance. After a fault of the network each has a new connection, while the
/// server still counts the old one; after the third fault in a minute it is held off until the
/// server has detected the loss.
#[tokio::test(start_paused = true)]
async fn a_crowd_of_envoys_that_reconnects_causes_no_event() {
    let registry = registry();
    let running = tokio::spawn({
        let registry = registry.clone();
        async move { registry.run().await }
    });
    let mut port = 0;
    let mut open = Vec::new();
    for _fault in 0..6 {
        let start = Instant::now();
        for envoy in 0..100 {
            port += 1;
            let options = ConnectOptions {
                client: connection(port),
                retry: RetryBehavior::IgnoresRetryAfter,
                ..ConnectOptions::new(Duration::from_secs(2))
            };
            let connected = registry.connect(dataplane(&format!("p{envoy}"), "web"), options).await;
            open.push(connected.unwrap().session);
        }
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
    assert_eq!((counts(&registry, "web"), events(&registry).len()), (Some((100, 0, 100)), 0));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_over_when_the_other_process_falls_silent() {
    let registry = registry();
    let running = tokio::spawn({
        let registry = registry.clone();
        async move { registry.run().await }
    });
    let _first = join_as(&registry, agent(1, 1)).unwrap();
    let idle = ConnectOptions { client: agent(2, 1), ..ConnectOptions::new(Duration::from_secs(5)) };
    let _silent = registry.connect(dataplane("a", "web"), idle).await.unwrap();
    retry_after(&join_as(&registry, agent(3, 1)));
    sleep(Duration::from_secs(6)).await;
    let _third = join_as(&registry, agent(3, 2)).unwrap();
    assert_eq!((counts(&registry, "web"), events(&registry).len()), (Some((1, 0, 1)), 0));
    running.abort();
}
