//! A restart: the records of one registry, restored by another one.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, advance, sleep};

use super::{counts, dataplane, dataplane_in, join, key, report, settings};
use crate::{
    model::{Dataplane, HealthState, Records, RegistrationRecord, WorkloadRecord},
    registry::{RecordChanges, Registry, RegistrySettings, WarmingStatus},
};

const WARMING: Duration = Duration::from_secs(30);

/// A registry that collects changes of its records.
fn recorded() -> Registry {
    restored(Records::default())
}

fn restored(records: Records) -> Registry {
    restored_with(settings(), records)
}

fn restored_with(settings: RegistrySettings, records: Records) -> Registry {
    let registry = Registry::new(settings);
    registry.restore(records, WARMING);
    registry
}

/// What a store has after it was given these changes.
fn store(records: &mut Records, changes: RecordChanges) {
    for (key, record) in changes.registrations {
        records.registrations.retain(|stored| stored.dataplane.key != key);
        records.registrations.extend(record);
    }
    for (key, record) in changes.workloads {
        records.workloads.retain(|stored| stored.key != key);
        records.workloads.extend(record);
    }
}

/// In order, with whether each dataplane is connected: the deadline of a lost one is derived from two clocks.
fn facts(mut records: Records) -> (Vec<(Arc<Dataplane>, bool)>, Vec<WorkloadRecord>) {
    records.registrations.sort_by(|a, b| a.dataplane.key.cmp(&b.dataplane.key));
    records.workloads.sort_by(|a, b| a.key.cmp(&b.key));
    let fact = |record: RegistrationRecord| (record.dataplane, record.retained_until.is_none());
    (records.registrations.into_iter().map(fact).collect(), records.workloads)
}

/// The record of a dataplane that was lost before the restart.
fn lost(name: &str, retained_until: SystemTime) -> RegistrationRecord {
    let since = SystemTime::UNIX_EPOCH;
    RegistrationRecord {
        dataplane: dataplane(name, "web").into(),
        since,
        retained_until: Some(retained_until),
    }
}

fn connected(name: &str) -> RegistrationRecord {
    RegistrationRecord { retained_until: None, ..lost(name, SystemTime::UNIX_EPOCH) }
}

fn of(registrations: impl IntoIterator<Item = RegistrationRecord>) -> Records {
    Records { registrations: registrations.into_iter().collect(), workloads: Vec::new() }
}

fn warming(registry: &Registry) -> Option<usize> {
    registry.warming().map(|status| status.missing)
}

#[tokio::test(start_paused = true)]
async fn the_changes_that_were_collected_are_the_records() {
    let registry = recorded();
    let mut records = Records::default();
    let a = join(&registry, "a", "web");
    let b = join(&registry, "b", "web");
    let c = join(&registry, "c", "api");
    store(&mut records, registry.take_record_changes(usize::MAX));
    assert_eq!((records.registrations.len(), records.workloads.len()), (3, 2));
    drop(a);
    b.goodbye();
    c.goodbye();
    let relabelled = join(&registry, "d", "web");
    drop(join(&registry, "d", "other"));
    drop(relabelled);
    store(&mut records, registry.take_record_changes(usize::MAX));
    assert_eq!(facts(records), facts(registry.records()));
}

#[tokio::test(start_paused = true)]
async fn a_restored_dataplane_is_registered_and_not_connected() {
    let before = recorded();
    let (mut a, b) = (join(&before, "a", "web"), join(&before, "b", "web"));
    a.report(report(1, HealthState::Ready));
    drop(b);
    let workload = before.get(&key("web")).0.unwrap();
    let after = restored(before.records());
    assert_eq!(counts(&after, "web"), Some((0, 0, 2)));
    let restored = after.get(&key("web")).0.unwrap();
    assert_eq!(restored.identity.uid, workload.identity.uid);
    assert_eq!(restored.identity.creation_time, workload.identity.creation_time);
    assert_eq!(restored.identity.labels, workload.identity.labels);
    assert_eq!(after.take_record_changes(usize::MAX), RecordChanges::default(), "nothing has changed");

    let _a = join(&after, "a", "web");
    assert_eq!(counts(&after, "web"), Some((1, 0, 2)));
    assert_eq!(after.get(&key("web")).0.unwrap().identity.uid, workload.identity.uid);
}

#[tokio::test(start_paused = true)]
async fn the_server_is_warming_until_those_that_were_connected_are_back() {
    let lost_before = lost("lost", SystemTime::now() + Duration::from_mins(5));
    let registry = restored(of([connected("a"), connected("b"), lost_before]));
    assert_eq!(registry.warming(), Some(WarmingStatus { missing: 2, remaining: WARMING }));
    let _lost = join(&registry, "lost", "web");
    assert_eq!(warming(&registry), Some(2));
    let a = join(&registry, "a", "web");
    assert_eq!(warming(&registry), Some(1));
    drop(a);
    let _a = join(&registry, "a", "web");
    assert_eq!(warming(&registry), Some(1), "a dataplane comes back once");
    let _b = join(&registry, "b", "web");
    assert_eq!(warming(&registry), None);
}

#[tokio::test(start_paused = true)]
async fn those_that_are_missing_in_the_end_are_recorded_as_lost() {
    let registry = restored(of([connected("a"), connected("b")]));
    let _a = join(&registry, "a", "web");
    advance(WARMING).await;
    assert_eq!(warming(&registry), None);
    registry.take_record_changes(usize::MAX);
    assert_eq!((registry.record_missing(), registry.record_missing()), (1, 0));
    let changes = registry.take_record_changes(usize::MAX).registrations;
    let (key, record) = changes.first_key_value().unwrap();
    assert_eq!(key.name.as_str(), "b");
    assert!(record.as_ref().unwrap().retained_until.is_some());
}

/// Runs the registry until all lost dataplanes are unregistered, and returns after how long.
async fn until_forgotten(registry: &Registry) -> Duration {
    let start = Instant::now();
    let forgotten = async {
        let mut changes = registry.subscribe();
        while counts(registry, "web").is_some() {
            changes.changed().await.unwrap();
        }
    };
    tokio::select! {
        () = registry.run() => unreachable!("it runs until dropped"),
        () = forgotten => {}
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_retention_goes_on_within_limits_that_the_clock_cannot_change() {
    let retention = settings().retention;
    let now = SystemTime::now();
    let second = Duration::from_secs(1);
    for (until, expected) in [
        (Some(now + Duration::from_mins(7)), Duration::from_mins(7)),
        // The clock was set back, or forward, or the server was down for long.
        (Some(now + Duration::from_hours(1_000)), retention),
        (Some(now - Duration::from_hours(1_000)), WARMING),
        (Some(now + second), WARMING),
        // It was connected, so its retention begins now.
        (None, retention),
    ] {
        let record = RegistrationRecord { retained_until: until, ..connected("a") };
        let forgotten = until_forgotten(&restored(of([record]))).await;
        assert!(forgotten.abs_diff(expected) <= second, "{until:?}: {forgotten:?}, not {expected:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_retention_a_restart_waits_nevertheless() {
    let settings = RegistrySettings { retention: Duration::ZERO, ..settings() };
    let registry = restored_with(settings, of([connected("a")]));
    assert_eq!(until_forgotten(&registry).await.as_secs(), WARMING.as_secs());
}

#[tokio::test(start_paused = true)]
async fn the_mesh_that_held_a_name_holds_it_again() {
    let before = recorded();
    let _first = join(&before, "z", "web");
    let other = dataplane_in("another", "a", "web");
    let _second = super::connect(&before, other.clone()).unwrap().session;
    let uid = |registry: &Registry| {
        let workload = registry.get(&key("web")).0.unwrap();
        (workload.identity.mesh.to_string(), workload.identity.uid, workload.counts.total)
    };
    let after = restored(before.records());
    assert_eq!(uid(&after), uid(&before));

    let mut records = before.records();
    records.registrations.retain(|record| record.dataplane.key == other.key);
    let after = restored(records.clone());
    let (mesh, new, total) = uid(&after);
    assert_eq!((mesh.as_str(), total), ("another", 1), "no dataplane of the holder is left");
    assert_ne!(new, uid(&before).1);
    store(&mut records, after.take_record_changes(usize::MAX));
    assert_eq!(uid(&restored(records.clone())).1, new, "the next restart keeps the new uid");

    records.workloads.clear();
    assert_eq!(uid(&restored(records)).0, "another");
}

#[tokio::test(start_paused = true)]
async fn two_meshes_without_a_holder_stay_without_one() {
    let a = RegistrationRecord { dataplane: dataplane_in("a", "x", "web").into(), ..connected("x") };
    let b = RegistrationRecord { dataplane: dataplane_in("b", "x", "web").into(), ..connected("x") };
    let registry = restored(of([a, b]));
    assert!(registry.get(&key("web")).0.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_workload_whose_dataplanes_are_gone_is_removed_from_the_records() {
    let before = recorded();
    let _a = join(&before, "a", "web");
    let Records { workloads, .. } = before.records();
    let after = restored(Records { registrations: Vec::new(), workloads });
    assert_eq!(counts(&after, "web"), None);
    let changes = after.take_record_changes(usize::MAX);
    assert_eq!(changes.workloads.into_iter().collect::<Vec<_>>(), [(key("web"), None)]);
}

#[tokio::test(start_paused = true)]
async fn a_workload_without_a_record_gets_one() {
    let registry = restored(of([connected("a")]));
    let identity = registry.get(&key("web")).0.unwrap();
    let changes = registry.take_record_changes(usize::MAX);
    let expected = WorkloadRecord::of(&identity.identity);
    assert_eq!(changes.workloads.into_values().collect::<Vec<_>>(), [Some(expected)]);
}

#[tokio::test(start_paused = true)]
async fn a_dataplane_that_leaves_because_the_server_stops_is_expected_back() {
    let before = recorded();
    let (a, b) = (join(&before, "a", "web"), join(&before, "b", "web"));
    drop(a);
    let mut records = Records::default();
    store(&mut records, before.take_record_changes(usize::MAX));
    before.drain();
    drop(b);
    store(&mut records, before.take_record_changes(usize::MAX));
    let after = restored(records);
    assert_eq!((counts(&after, "web"), warming(&after)), (Some((0, 0, 2)), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_outlasts_the_retention_keeps_lost_dataplanes() {
    for retention in [Duration::ZERO, Duration::from_secs(5)] {
        let settings = RegistrySettings { retention, ..settings() };
        let before = restored_with(settings.clone(), Records::default());
        let (a, b) = (join(&before, "a", "web"), join(&before, "b", "web"));
        let uid = before.get(&key("web")).0.unwrap().identity.uid;
        before.drain();
        drop(a);
        b.goodbye();
        tokio::select! {
            () = before.run() => unreachable!("it runs until dropped"),
            () = sleep(Duration::from_secs(10)) => {}
        }
        assert_eq!(counts(&before, "web"), Some((0, 0, 1)), "with the retention {retention:?}");
        let mut records = Records::default();
        store(&mut records, before.take_record_changes(usize::MAX));
        let after = restored_with(settings, records);
        assert_eq!((counts(&after, "web"), warming(&after)), (Some((0, 0, 1)), Some(1)));
        assert_eq!(after.get(&key("web")).0.unwrap().identity.uid, uid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_without_a_store_keeps_no_lost_dataplane() {
    let registry = Registry::new(RegistrySettings { retention: Duration::ZERO, ..settings() });
    let a = join(&registry, "a", "web");
    registry.drain();
    drop(a);
    assert_eq!(counts(&registry, "web"), None);
}

#[tokio::test(start_paused = true)]
async fn no_changes_are_collected_without_a_store() {
    let registry = super::registry();
    let _a = join(&registry, "a", "web");
    assert_eq!(registry.pending_records(), 0);
}
