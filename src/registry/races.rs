//! Small races, each run in thousands of thread schedules.
//!
//! Under `--cfg shuttle` the maps, locks and atomics of the registry are shuttle's: it
//! runs one thread of a race at a time and chooses the next one at every lock and every
//! atomic. A failure prints its schedule, which `shuttle::replay` repeats. `make races`
//! runs them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use shuttle::thread;
use tokio::time::Instant;

use super::{
    tests::{
        agent, connect, connect_with, counts, dataplane, join, join_as, key, registry, report, settings,
    },
    *,
};
use crate::model::{
    DataplaneKey, Filter, HealthState, Records, RegistrationRecord, WorkloadKey, WorkloadRecord,
};

/// Random schedules, and as many in which the fewest switches of threads come at the
/// worst places (PCT).
const SCHEDULES: usize = 1_500;
/// The number of switches that PCT looks for.
const DEPTH: usize = 3;

fn in_many_schedules(race: fn()) {
    shuttle::check_random(race, SCHEDULES);
    shuttle::check_pct(race, SCHEDULES, DEPTH);
}

/// Listings, groups and reservations agree, and nothing is left over.
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
    assert_eq!(registry.shared.capacity.sessions(), connected);
}

#[test]
fn a_takeover_against_the_end_of_the_older_session() {
    in_many_schedules(|| {
        let registry = registry();
        let mut older = join(&registry, "a", "web");
        older.report(report(1, HealthState::Ready));
        let end = thread::spawn(move || drop(older));
        let mut newer = join(&registry, "a", "web");
        end.join().unwrap();
        newer.report(report(1, HealthState::Ready));
        assert_exact(&registry, "web", Some((1, 1, 1)));
    });
}

#[test]
fn a_takeover_that_moves_against_a_report_and_a_goodbye_of_the_older_session() {
    in_many_schedules(|| {
        let registry = registry();
        let _peer = join(&registry, "b", "web");
        let mut older = join(&registry, "a", "web");
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
    in_many_schedules(|| {
        let registry = registry();
        drop(join(&registry, "a", "web"));
        let late = Instant::now() + Duration::from_hours(1);
        let sweeper = thread::spawn({
            let registry = registry.clone();
            move || registry.shared.expire(late)
        });
        let session = join(&registry, "a", "web");
        sweeper.join().unwrap();
        assert_exact(&registry, "web", Some((1, 0, 1)));
        drop(session);
        assert_exact(&registry, "web", Some((0, 0, 1)));
        registry.shared.expire(late);
        assert_exact(&registry, "web", None);
    });
}

#[test]
fn the_last_member_leaves_while_a_new_one_joins() {
    in_many_schedules(|| {
        let registry = registry();
        let last = join(&registry, "a", "web");
        let end = thread::spawn(move || last.goodbye());
        let _first = join(&registry, "b", "web");
        end.join().unwrap();
        assert_exact(&registry, "web", Some((1, 0, 1)));
    });
}

#[test]
fn two_dataplanes_swap_their_workloads() {
    in_many_schedules(|| {
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
fn room_for_a_new_dataplane_against_the_return_of_a_lost_one() {
    in_many_schedules(|| {
        let registry = Registry::new(RegistrySettings { max_dataplanes: 2, ..settings() });
        drop(join(&registry, "a", "web"));
        drop(join(&registry, "b", "web"));
        let back = thread::spawn({
            let registry = registry.clone();
            move || join(&registry, "a", "web")
        });
        let _new = connect(&registry, dataplane("c", "web")).expect("b makes room if a does not").session;
        let _back = back.join().unwrap();
        assert_exact(&registry, "web", Some((2, 0, 2)));
    });
}

#[test]
fn a_subscription_against_a_change() {
    in_many_schedules(|| {
        // The log is so small that a read view alone retains what it needs.
        let registry = Registry::new(RegistrySettings { log_capacity: 1, ..settings() });
        let mut session = join(&registry, "a", "web");
        let changes = thread::spawn(move || {
            session.report(report(1, HealthState::Ready));
            session.report(report(2, HealthState::NotReady));
            session.report(report(3, HealthState::Ready));
            session
        });
        let mut watcher = registry.watch(Filter::default(), None).unwrap();
        let mut last = None;
        let mut read = |watcher: &mut Watcher| {
            while let Some(batch) = watcher.next_now() {
                assert!(last.is_none_or(|(revision, _)| revision <= batch.synced.unwrap()));
                for workload in batch.upserted() {
                    last = Some((workload.revision, workload.counts.healthy));
                }
            }
            last
        };
        read(&mut watcher);
        let _session = changes.join().unwrap();
        assert_eq!(read(&mut watcher), Some((4, 1)));
        assert_exact(&registry, "web", Some((1, 1, 1)));
    });
}

#[test]
fn watchers_of_a_name_against_the_first_changes_of_its_workload() {
    in_many_schedules(|| {
        let registry = Registry::new(RegistrySettings { log_capacity: 1, ..settings() });
        let changes = thread::spawn({
            let registry = registry.clone();
            move || {
                let mut session = join(&registry, "a", "web");
                session.report(report(1, HealthState::Ready));
                session
            }
        });
        let WorkloadKey { name, namespace } = key("web");
        let filter = Filter { name: Some(name), namespace: Some(namespace), ..Filter::default() };
        // Two, so that they share batches; another one leaves the name in between.
        let mut watchers = [(); 2].map(|()| registry.watch(filter.clone(), None).unwrap());
        drop(registry.watch(filter, None).unwrap());
        let mut known = [None; 2];
        let mut read = |watchers: &mut [Watcher; 2]| {
            for (watcher, known) in watchers.iter_mut().zip(&mut known) {
                while let Some(batch) = watcher.next_now() {
                    for workload in batch.upserted() {
                        assert!(known.is_none_or(|(revision, _)| revision < workload.revision));
                        *known = Some((workload.revision, workload.counts.healthy));
                    }
                }
            }
            known
        };
        read(&mut watchers);
        let _session = changes.join().unwrap();
        assert_eq!(read(&mut watchers), [Some((2, 1)); 2]);
    });
}

#[test]
fn a_listing_during_changes_shows_one_revision() {
    in_many_schedules(|| {
        let registry = Registry::new(RegistrySettings { log_capacity: 1, ..settings() });
        let session = join(&registry, "a", "web");
        // One transition: "web" goes and "api" comes, and back.
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

fn connect_idle(registry: &Registry, timeout: Duration) -> Session {
    connect_with(registry, dataplane("a", "web"), ConnectOptions::new(timeout)).unwrap().session
}

#[test]
fn the_end_of_an_idle_timeout_against_a_takeover_and_a_report() {
    in_many_schedules(|| {
        let registry = registry();
        let mut idle = connect_idle(&registry, Duration::from_secs(1));
        let (other, later) = (registry.clone(), Instant::now() + Duration::from_secs(2));
        let checks = thread::spawn(move || other.shared.lose_idle(later));
        let other = registry.clone();
        let takeover = thread::spawn(move || connect_idle(&other, Duration::MAX));
        idle.report(report(1, HealthState::Ready));
        checks.join().unwrap();
        let _newer = takeover.join().unwrap();
        drop(idle);
        assert_exact(&registry, "web", Some((1, 0, 1)));
        registry.shared.lose_idle(later);
        assert_exact(&registry, "web", Some((1, 0, 1)));
    });
}

#[test]
fn two_takeovers_by_different_agents_at_once_admit_one() {
    in_many_schedules(|| {
        let registry = registry();
        let _first = join_as(&registry, agent(1, 1)).unwrap();
        let other = registry.clone();
        let second = thread::spawn(move || join_as(&other, agent(2, 1)));
        let third = join_as(&registry, agent(3, 1));
        let second = second.join().unwrap();
        let held_off = |result: &Result<_, _>| matches!(result, Err(ConnectError::HeldOff { .. }));
        assert!(second.is_ok() && held_off(&third) || held_off(&second) && third.is_ok());
        assert_exact(&registry, "web", Some((1, 0, 1)));
    });
}

#[test]
fn a_goodbye_against_a_stale_attempt_and_the_next_agent() {
    in_many_schedules(|| {
        let registry = registry();
        let session = join_as(&registry, agent(1, 2)).unwrap();
        let goodbye = thread::spawn(move || session.goodbye());
        let other = registry.clone();
        let next = thread::spawn(move || join_as(&other, agent(2, 1)));
        // Superseded, or held off if the next agent has taken over.
        assert!(join_as(&registry, agent(1, 1)).is_err());
        goodbye.join().unwrap();
        let _next = next.join().unwrap().expect("it connects, after the goodbye or by a takeover");
        assert_exact(&registry, "web", Some((1, 0, 1)));
    });
}

/// What a store has after it has applied batches of the journal.
#[derive(Debug, Default)]
struct Stored {
    registrations: BTreeMap<DataplaneKey, RegistrationRecord>,
    workloads: BTreeMap<WorkloadKey, WorkloadRecord>,
}

impl Stored {
    /// Takes a batch and applies it, or returns it to the journal as after a failure.
    fn write(&mut self, registry: &Registry, max: usize, fails: bool) {
        let changes = registry.take_record_changes(max);
        if fails {
            return registry.return_record_changes(changes);
        }
        assert!(!changes.incomplete);
        apply(&mut self.registrations, changes.registrations);
        apply(&mut self.workloads, changes.workloads);
        registry.record_changes_stored();
    }

    fn assert_equals(&self, registry: &Registry) {
        // Without the deadline of a lost one, which is derived from two clocks.
        let facts = |record: &RegistrationRecord| {
            let dataplane = Arc::clone(&record.dataplane);
            (dataplane, record.since, record.retained_until.is_none())
        };
        let Records { mut registrations, workloads } = registry.records();
        registrations.sort_by(|a, b| a.dataplane.key.cmp(&b.dataplane.key));
        let stored: Vec<_> = self.registrations.values().map(facts).collect();
        assert_eq!(stored, registrations.iter().map(facts).collect::<Vec<_>>());
        let workloads = workloads.into_iter().map(|record| (record.key.clone(), record));
        assert_eq!(self.workloads, workloads.collect());
    }
}

fn apply<K: Ord, V>(stored: &mut BTreeMap<K, V>, changes: BTreeMap<K, Option<V>>) {
    for (key, record) in changes {
        match record {
            Some(record) => drop(stored.insert(key, record)),
            None => drop(stored.remove(&key)),
        }
    }
}

#[test]
fn the_journal_against_transitions() {
    in_many_schedules(|| {
        let registry = registry();
        registry.restore(Records::default(), Duration::ZERO);
        let older = join(&registry, "a", "web");
        let end = thread::spawn(move || drop(older));
        let other = registry.clone();
        let moves = thread::spawn(move || join(&other, "a", "api").goodbye());
        let mut stored = Stored::default();
        for fails in [false, true, false] {
            stored.write(&registry, 1, fails);
        }
        end.join().unwrap();
        moves.join().unwrap();
        let (back, other) = (join(&registry, "a", "web"), join(&registry, "b", "api"));
        let ends = thread::spawn(move || {
            drop(back);
            other.goodbye();
        });
        for fails in [true, false] {
            stored.write(&registry, 1, fails);
        }
        ends.join().unwrap();
        stored.write(&registry, usize::MAX, false);
        stored.assert_equals(&registry);
        assert_eq!((stored.registrations.len(), registry.pending_records()), (1, 0));
    });
}

#[test]
fn a_drain_against_a_hello() {
    in_many_schedules(|| {
        let registry = registry();
        let other = registry.clone();
        let hello = thread::spawn(move || join(&other, "a", "web"));
        registry.drain();
        let session = hello.join().unwrap();
        assert_eq!(session.notice().now_or_never(), Some(Notice::Draining));
    });
}
