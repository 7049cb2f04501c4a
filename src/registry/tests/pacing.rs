//! How often one dataplane may connect and change visibly, whatever its clients do.

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::*;

const INTERVAL: Duration = Duration::from_millis(100);

fn paced() -> Registry {
    Registry::new(RegistrySettings { flap_interval: INTERVAL, ..RegistrySettings::default() })
}

/// Connects, reports ready at once, and keeps the session until it is superseded.
async fn connect_and_report(registry: Registry, client: Client) -> Result<(), ConnectError> {
    let options = ConnectOptions { client, ..ConnectOptions::new(Duration::MAX) };
    let mut session = registry.connect(dataplane("a", "web"), options).await?.session;
    session.report(report(1, HealthState::Ready));
    if let Some(at) = session.next_flush() {
        sleep_until(at).await;
        session.flush();
    }
    session.notice().await;
    Ok(())
}

/// Hellos of one agent, of as many agents, and of clients of which nothing is known.
fn crowds() -> [fn(u16) -> Client; 4] {
    [|n| agent(7, u32::from(n)), |n| agent(u64::from(n), 1), connection, |_| Client::default()]
}

#[tokio::test(start_paused = true)]
async fn a_hundred_hellos_at_once_cause_three_revisions_in_two_intervals() {
    for client in crowds() {
        let (registry, start, mut hellos) = (paced(), Instant::now(), JoinSet::new());
        for n in 1..=100 {
            hellos.spawn(connect_and_report(registry.clone(), client(n)));
        }
        sleep_until(start + 2 * INTERVAL - Duration::from_millis(1)).await;
        assert!(registry.head() <= 3, "{}", registry.head());
        let mut rejected = 0;
        while let Some(ended) = hellos.try_join_next() {
            rejected += usize::from(ended.unwrap().is_err());
        }
        assert_eq!(rejected, 98, "nobody waits longer than one interval");
        sleep(INTERVAL).await;
        assert_eq!(counts(&registry, "web"), Some((1, 1, 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn hellos_that_never_end_cause_two_revisions_per_interval() {
    for client in crowds() {
        let (registry, start, mut hellos) = (paced(), Instant::now(), JoinSet::new());
        let mut n = 0;
        while start.elapsed() < 10 * INTERVAL {
            n += 1;
            hellos.spawn(connect_and_report(registry.clone(), client(n)));
            sleep(Duration::from_millis(3)).await;
        }
        assert!(registry.head() <= 2 * 11, "{}", registry.head());
        while hellos.try_join_next().is_some() {}
        assert!(hellos.len() < 40, "{} hellos wait", hellos.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_right_after_a_takeover_is_deferred() {
    let registry = paced();
    let mut older = join_as(&registry, agent(1, 1)).unwrap();
    older.report(report(1, HealthState::Ready));
    sleep(INTERVAL).await;
    let start = Instant::now();
    let mut newer = join_as(&registry, agent(1, 2)).unwrap();
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    newer.report(report(1, HealthState::Ready));
    assert_eq!((counts(&registry, "web"), newer.next_flush()), (Some((1, 0, 1)), Some(start + INTERVAL)));
    sleep(INTERVAL).await;
    assert_eq!((newer.flush(), counts(&registry, "web")), (Some(1), Some((1, 1, 1))));
}

#[tokio::test(start_paused = true)]
async fn the_slot_of_a_change_outlives_a_takeover_and_a_loss() {
    for lost in [false, true] {
        let registry = paced();
        let mut older = join_as(&registry, agent(1, 1)).unwrap();
        sleep(INTERVAL.saturating_sub(Duration::from_millis(1))).await;
        older.report(report(1, HealthState::Ready));
        older.report(report(2, HealthState::NotReady));
        let next = older.next_flush().unwrap();
        sleep(Duration::from_millis(1)).await;
        if lost {
            drop(older);
        }
        let mut newer = join_as(&registry, agent(1, 2)).unwrap();
        newer.report(report(1, HealthState::Ready));
        let expected = if lost { next } else { Instant::now() + INTERVAL };
        assert_eq!(newer.next_flush(), Some(expected), "lost: {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_report_after_a_loss_is_visible_at_once() {
    let registry = paced();
    let mut older = join_as(&registry, agent(1, 1)).unwrap();
    older.report(report(1, HealthState::Ready));
    sleep(INTERVAL).await;
    drop(older);
    let mut newer = join_as(&registry, agent(1, 2)).unwrap();
    newer.report(report(1, HealthState::Ready));
    assert_eq!(counts(&registry, "web"), Some((1, 1, 1)));
}

/// A registration that ends with a goodbye is paced like one that is lost.
#[tokio::test(start_paused = true)]
async fn a_dataplane_that_joins_and_leaves_in_a_loop_is_throttled() {
    let (registry, start) = (paced(), Instant::now());
    for _ in 0..10 {
        let options = ConnectOptions::new(Duration::MAX);
        let mut session = registry.connect(dataplane("a", "web"), options).await.unwrap().session;
        session.report(report(1, HealthState::Ready));
        session.goodbye();
    }
    assert_eq!(start.elapsed(), 9 * INTERVAL);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_hello_leaves_its_turn_to_the_others() {
    let registry = paced();
    let _first = join_as(&registry, agent(1, 1)).unwrap();
    let older = tokio::spawn(connect_and_report(registry.clone(), agent(1, 2)));
    tokio::task::yield_now().await;
    let newer = tokio::spawn(connect_and_report(registry.clone(), agent(1, 3)));
    tokio::task::yield_now().await;
    newer.abort();
    sleep(2 * INTERVAL).await;
    assert!(!older.is_finished());
    assert_eq!(counts(&registry, "web"), Some((1, 1, 1)));
}
