//! Small races, each played in thousands of orders.
//!
//! Under `--cfg shuttle` the locks and atomics of the vault are shuttle's: it
//! runs the threads of a race one at a time and decides at every lock and every
//! atomic who goes on. A failure prints the schedule, which
//! `shuttle::replay` plays again. `make races` runs them.

use std::time::Duration;

use futures_util::FutureExt as _;
use shuttle::thread;
use tokio::time::Instant;

use super::{
    tests::{counts, dataplane, join, key, report},
    *,
};
use crate::model::{Filter, HealthState};

/// Orders drawn at random, and as many drawn so that few switches of threads
/// come at the worst places (PCT).
const ORDERS: usize = 1_500;
/// Switches that PCT looks for.
const DEPTH: usize = 3;

fn in_every_order(race: fn()) {
    shuttle::check_random(race, ORDERS);
    shuttle::check_pct(race, ORDERS, DEPTH);
}

fn registry() -> Registry {
    Registry::new(RegistrySettings::default())
}

/// What List and the sums say is the same, and nothing is left over.
fn assert_exact(registry: &Registry, workload: &str, expected: Option<(u32, u32, u32)>) {
    assert_eq!(counts(registry, workload), expected, "{workload}");
    for group in registry.groups().into_iter().filter(|group| group.holds) {
        let workload = group.workload.as_ref().and_then(|key| registry.get(key).0);
        assert_eq!(workload.map(|workload| workload.counts), Some(group.counts));
    }
    let registered = registry.dataplanes(|_| true, usize::MAX, None).0;
    let total: u32 = registry.groups().iter().map(|group| group.counts.total).sum();
    assert_eq!(registered.len(), total as usize);
    let connected = registered.iter().filter(|dataplane| dataplane.session.is_some()).count();
    assert_eq!(registry.shared.admission.sessions(), connected);
}

#[test]
fn a_takeover_against_the_end_of_the_older_session() {
    in_every_order(|| {
        let registry = registry();
        let older = join(&registry, "a", "web");
        older.report(report(1, HealthState::Ready));
        let end = thread::spawn(move || drop(older));
        let newer = join(&registry, "a", "web");
        end.join().unwrap();
        newer.report(report(1, HealthState::Ready));
        assert_exact(&registry, "web", Some((1, 1, 1)));
    });
}

#[test]
fn a_takeover_that_moves_against_a_report_and_a_goodbye_of_the_older_session() {
    in_every_order(|| {
        let registry = registry();
        let _peer = join(&registry, "b", "web");
        let older = join(&registry, "a", "web");
        let end = thread::spawn(move || {
            older.report(report(1, HealthState::Ready));
            older.goodbye();
        });
        let _newer = join(&registry, "a", "api");
        end.join().unwrap();
        assert_exact(&registry, "web", Some((1, 0, 1)));
        assert_exact(&registry, "api", Some((1, 0, 1)));
    });
}

#[test]
fn the_end_of_retention_against_a_hello() {
    in_every_order(|| {
        let registry = registry();
        drop(join(&registry, "a", "web"));
        let late = Instant::now() + Duration::from_hours(1);
        let sweeper = thread::spawn({
            let registry = registry.clone();
            move || registry.shared.forget_due(late)
        });
        let session = join(&registry, "a", "web");
        sweeper.join().unwrap();
        assert_exact(&registry, "web", Some((1, 0, 1)));
        drop(session);
        assert_exact(&registry, "web", Some((0, 0, 1)));
        registry.shared.forget_due(late);
        assert_exact(&registry, "web", None);
    });
}

#[test]
fn the_last_who_leaves_against_the_first_who_comes() {
    in_every_order(|| {
        let registry = registry();
        let last = join(&registry, "a", "web");
        let end = thread::spawn(move || last.goodbye());
        let _first = join(&registry, "b", "web");
        end.join().unwrap();
        assert_exact(&registry, "web", Some((1, 0, 1)));
    });
}

#[test]
fn two_dataplanes_that_change_places() {
    in_every_order(|| {
        let registry = registry();
        let (_a, _b) = (join(&registry, "a", "web"), join(&registry, "b", "api"));
        let other = thread::spawn({
            let registry = registry.clone();
            move || join(&registry, "b", "web")
        });
        let _a = join(&registry, "a", "api");
        let _b = other.join().unwrap();
        assert_exact(&registry, "web", Some((1, 0, 1)));
        assert_exact(&registry, "api", Some((1, 0, 1)));
    });
}

#[test]
fn room_for_a_newcomer_against_the_return_of_who_would_have_made_it() {
    in_every_order(|| {
        let registry = Registry::new(RegistrySettings { max_dataplanes: 2, ..RegistrySettings::default() });
        drop(join(&registry, "a", "web"));
        drop(join(&registry, "b", "web"));
        let back = thread::spawn({
            let registry = registry.clone();
            move || join(&registry, "a", "web")
        });
        let _newcomer = registry.hello(dataplane("c", "web")).expect("b makes room if a does not").session;
        let _back = back.join().unwrap();
        assert_exact(&registry, "web", Some((2, 0, 2)));
    });
}

#[test]
fn a_subscription_against_a_change() {
    in_every_order(|| {
        // So small a log, that what a look needs would be forgotten at once.
        let registry = Registry::new(RegistrySettings { log_capacity: 1, ..RegistrySettings::default() });
        let session = join(&registry, "a", "web");
        let changes = thread::spawn(move || {
            session.report(report(1, HealthState::Ready));
            session.report(report(2, HealthState::NotReady));
            session.report(report(3, HealthState::Ready));
            session
        });
        let mut watcher = registry.watch(Filter::default(), None).unwrap();
        let mut seen = None;
        let mut listen = |watcher: &mut Watcher| {
            while let Some(step) = watcher.next_now() {
                assert!(seen.is_none_or(|(revision, _)| revision <= step.synced.unwrap()));
                for workload in step.upserted() {
                    seen = Some((workload.revision, workload.counts.healthy));
                }
            }
            seen
        };
        listen(&mut watcher);
        let _session = changes.join().unwrap();
        assert_eq!(listen(&mut watcher), Some((4, 1)));
        assert_exact(&registry, "web", Some((1, 1, 1)));
    });
}

#[test]
fn a_listing_against_changes_is_of_one_revision() {
    in_every_order(|| {
        let registry = Registry::new(RegistrySettings { log_capacity: 1, ..RegistrySettings::default() });
        let session = join(&registry, "a", "web");
        // One step: "web" goes and "api" comes, and back.
        let moves = thread::spawn({
            let registry = registry.clone();
            move || {
                let _moved = join(&registry, "a", "api");
                join(&registry, "a", "web")
            }
        });
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.workloads.len(), 1, "one of them at each revision: {snapshot:?}");
        let (web, revision) = registry.get(&key("web"));
        assert!(web.is_some() != (revision == 3), "{revision}: {web:?}");
        let _session = moves.join().unwrap();
        drop(session);
    });
}

fn patience(seconds: u64) -> Endurance {
    Endurance { silence: Duration::from_secs(seconds), start: Duration::ZERO }
}

#[test]
fn the_end_of_patience_against_a_takeover_and_a_report() {
    in_every_order(|| {
        let registry = registry();
        let mut silent = registry.pace(join(&registry, "a", "web"), patience(1));
        let (other, later) = (registry.clone(), Instant::now() + Duration::from_secs(2));
        let looks = thread::spawn(move || other.shared.lose_silent(later));
        let other = registry.clone();
        let takeover = thread::spawn(move || other.pace(join(&other, "a", "web"), patience(u64::MAX)));
        silent.report(report(1, HealthState::Ready));
        looks.join().unwrap();
        let _newer = takeover.join().unwrap();
        drop(silent);
        assert_exact(&registry, "web", Some((1, 0, 1)));
        registry.shared.lose_silent(later);
        assert_exact(&registry, "web", Some((1, 0, 1)));
    });
}

#[test]
fn a_drain_against_a_hello() {
    in_every_order(|| {
        let registry = registry();
        let other = registry.clone();
        let hello = thread::spawn(move || join(&other, "a", "web"));
        registry.drain();
        let session = hello.join().unwrap();
        assert_eq!(session.notice().now_or_never(), Some(Notice::Draining));
    });
}
