//! The throttle of visible changes.

use tokio::time::{Instant, sleep, sleep_until};

use super::{super::ReportOutcome, *};

const INTERVAL: Duration = Duration::from_millis(100);
const READY: HealthState = HealthState::Ready;
const NOT_READY: HealthState = HealthState::NotReady;

fn throttled() -> (Registry, Session) {
    let registry = Registry::new(RegistrySettings { flap_interval: INTERVAL, ..RegistrySettings::default() });
    let session = join(&registry, "a", "web");
    (registry, session)
}

fn healthy(registry: &Registry) -> u32 {
    counts(registry, "web").map_or(0, |(_, healthy, _)| healthy)
}

async fn flushed(session: &mut Session) -> u64 {
    sleep_until(session.next_flush().unwrap()).await;
    session.flush().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_change_is_visible_at_once_and_later_ones_after_the_interval() {
    let (registry, mut session) = throttled();
    let start = Instant::now();
    assert_eq!(session.report(report(1, READY)), ReportOutcome::Visible);
    assert_eq!(healthy(&registry), 1);
    assert_eq!(session.report(report(2, NOT_READY)), ReportOutcome::Deferred);
    assert_eq!((healthy(&registry), session.flush()), (1, None));
    assert_eq!(flushed(&mut session).await, 2);
    assert_eq!((healthy(&registry), start.elapsed()), (0, INTERVAL));
    // The deferred change starts the next interval.
    assert_eq!(session.report(report(3, READY)), ReportOutcome::Deferred);
    assert_eq!(flushed(&mut session).await, 3);
    assert_eq!((healthy(&registry), start.elapsed()), (1, 2 * INTERVAL));
    sleep(INTERVAL).await;
    assert_eq!(session.report(report(4, NOT_READY)), ReportOutcome::Visible);
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_changes_few_are_visible_and_the_last_one_is() {
    let (registry, mut session) = throttled();
    let (start, revision) = (Instant::now(), registry.head());
    for sequence in 1..=1_001 {
        session.report(report(sequence, if sequence % 2 == 1 { READY } else { NOT_READY }));
        sleep(Duration::from_millis(1)).await;
        if session.next_flush().is_some_and(|at| at <= Instant::now()) {
            assert!(session.flush().is_some());
        }
    }
    assert_eq!(start.elapsed().as_millis(), 1_001);
    let visible = registry.head() - revision;
    assert!((5..=11).contains(&visible), "{visible}");
    if session.next_flush().is_some() {
        assert_eq!(flushed(&mut session).await, 1_001);
    }
    assert_eq!(healthy(&registry), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_change_that_is_reverted_is_never_visible() {
    let (registry, mut session) = throttled();
    session.report(report(1, READY));
    let revision = registry.head();
    assert_eq!(session.report(report(2, NOT_READY)), ReportOutcome::Deferred);
    assert_eq!(session.report(report(3, READY)), ReportOutcome::Unchanged, "readers see this already");
    sleep(2 * INTERVAL).await;
    assert_eq!((session.next_flush(), session.flush()), (None, None), "nothing is deferred");
    assert_eq!(registry.head(), revision);
}

#[tokio::test(start_paused = true)]
async fn a_deferred_report_ends_with_its_session() {
    let (registry, mut session) = throttled();
    session.report(report(1, READY));
    session.report(report(2, NOT_READY));
    drop(session);
    let [lost] = registry.groups().try_into().unwrap();
    assert_eq!(lost.counts, Counts { connected: 0, healthy: 0, total: 1 });
}
