//! A registry with a store that can fail.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use parking_lot::Mutex;
use proptest::prelude::*;
use prost::Message as _;
use tokio::time::{Instant, advance, sleep_until};

use super::*;
use crate::{
    model::{
        Dataplane, DataplaneLimits, DataplaneSpec, Environment, InboundSpec, RegistrationRecord,
        WORKLOAD_LABEL,
    },
    proto,
    registry::{RegistrySettings, Session, tests::connect},
    runtime::captured_log::CapturedLog,
    store::{Committed, Expected, Item, MemoryStore, Store, Watch, Write, key},
};

pub(crate) mod outages;

const WARMING: Duration = Duration::from_secs(30);

/// A store in memory that can be slow, and can fail.
#[derive(Debug, Default)]
struct Map {
    store: MemoryStore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each commit was durable, and its number of writes.
    commits: Vec<(Instant, usize)>,
    /// The time that a commit takes.
    takes: Duration,
    /// Why commits fail.
    fails: Option<StoreError>,
    removed: bool,
    checks: usize,
}

impl Map {
    fn items(&self) -> Vec<Item> {
        self.store.load(b"").now_or_never().unwrap().unwrap().items
    }
}

impl Store for Map {
    fn load<'a>(&'a self, prefix: &'a [u8]) -> BoxFuture<'a, Result<crate::store::Loaded, StoreError>> {
        self.store.load(prefix)
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let mut state = self.state.lock();
        let durable = Instant::now() + state.takes;
        let fails = state.fails.clone();
        if fails.is_none() {
            state.commits.push((durable, writes.len()));
        }
        async move {
            let result = match fails {
                Some(error) => Err(error),
                None => self.store.commit(writes).await,
            };
            sleep_until(durable).await;
            result
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.state.lock();
        state.checks += 1;
        ready(if state.removed { Err(StoreError::Unavailable("it was removed".into())) } else { Ok(()) })
            .boxed()
    }

    fn watch(&self, prefix: &[u8], after: u64) -> Watch {
        self.store.watch(prefix, after)
    }
}

fn full() -> StoreError {
    StoreError::Unavailable("no space left".into())
}

#[derive(Debug, Default)]
struct Disk {
    registrations: Arc<Map>,
    resources: Arc<Map>,
}

impl Disk {
    async fn load(&self, clock_revision: u64) -> Loaded {
        let settings = RegistrySettings { first_revision: clock_revision, ..RegistrySettings::default() };
        self.try_load(&settings).await.unwrap()
    }

    async fn try_load(&self, settings: &RegistrySettings) -> Result<Loaded, LoadError> {
        let stores = Stores {
            registrations: Arc::clone(&self.registrations) as Arc<dyn Store>,
            resources: Arc::clone(&self.resources) as Arc<dyn Store>,
        };
        Persistence::load(stores, settings).await
    }

    /// Starts a server's registry on it.
    async fn start(&self) -> (Registry, Persistence) {
        self.start_with(RegistrySettings::default()).await
    }

    async fn start_with(&self, settings: RegistrySettings) -> (Registry, Persistence) {
        let Loaded { persistence, records, first_revision } = self.load(1_000).await;
        let registry = Registry::new(RegistrySettings { first_revision, ..settings });
        registry.restore(records, WARMING);
        (registry, persistence)
    }

    fn keys(&self) -> Vec<String> {
        let items = self.registrations.items().into_iter();
        items.map(|item| String::from_utf8(item.key.into()).unwrap()).collect()
    }
}

fn join(registry: &Registry, name: &str) -> Session {
    let labels = BTreeMap::from([(WORKLOAD_LABEL.to_owned(), "web".to_owned())]);
    let spec =
        DataplaneSpec { mesh: "default".into(), name: name.into(), labels, ..DataplaneSpec::default() };
    connect(registry, Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()).unwrap().session
}

/// Runs the writer for this long.
async fn run(persistence: &Persistence, registry: &Registry, time: Duration) {
    tokio::select! {
        never = persistence.run(registry) => match never {},
        () = tokio::time::sleep(time) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_stored_within_100_ms_and_one_batch_has_many() {
    stores_within_100_ms(Duration::ZERO).await;
    // More changes come while a batch is written.
    stores_within_100_ms(Duration::from_millis(20)).await;
}

async fn stores_within_100_ms(takes: Duration) {
    let disk = Disk::default();
    disk.registrations.state.lock().takes = takes;
    let (registry, persistence) = disk.start().await;
    let joins = async {
        let mut sessions = Vec::new();
        for number in 0..300 {
            sessions.push((join(&registry, &format!("a{number}")), Instant::now()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        sessions
    };
    let sessions = tokio::select! {
        never = persistence.run(&registry) => match never {},
        sessions = joins => sessions,
    };
    let commits = disk.registrations.state.lock().commits.clone();
    assert_eq!(disk.keys().len(), sessions.len() + 1, "the dataplanes and their Workload");
    assert!(commits.len() <= 10, "{} commits that take {takes:?}", commits.len());
    for (_, joined) in &sessions {
        let next = commits.iter().map(|(at, _)| *at).find(|at| at >= joined).unwrap();
        assert!(next - *joined < Duration::from_millis(100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_restores_what_was_stored() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    let (a, b) = (join(&registry, "a"), join(&registry, "b"));
    drop(b);
    persistence.flush(&registry).await;
    let before = registry.records();
    let (after, _) = disk.start().await;
    assert_eq!(after.records().workloads, before.workloads);
    assert_eq!(after.warming().unwrap().missing, 1);
    assert!(after.head() > registry.head());
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn what_exceeds_a_limit_prevents_the_start_and_nothing_is_written() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    let _sessions = [join(&registry, "a"), join(&registry, "b")];
    persistence.flush(&registry).await;
    let commits = || [&disk.registrations, &disk.resources].map(|map| map.state.lock().commits.len());
    let before = (disk.registrations.items(), commits());
    let low = RegistrySettings { max_dataplanes: 1, ..RegistrySettings::default() };
    let error = disk.try_load(&low).await.unwrap_err();
    assert!(matches!(error, LoadError::Limits(_)), "{error}");
    assert_eq!((disk.registrations.items(), commits()), before);
    let (after, _) = disk.start_with(RegistrySettings { max_dataplanes: 2, ..low }).await;
    assert_eq!(after.records().workloads, registry.records().workloads);
    assert_eq!(after.warming().unwrap().missing, 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_tried_again_and_nothing_is_lost() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    disk.registrations.state.lock().fails = Some(full());
    let _a = join(&registry, "a");
    run(&persistence, &registry, Duration::from_secs(3)).await;
    let state = persistence.status().state();
    assert!((2..=4).contains(&state.failures), "{state:?}");
    assert_eq!(state.error, Some(full()));
    disk.registrations.state.lock().fails = None;
    run(&persistence, &registry, Duration::from_secs(2)).await;
    assert_eq!((persistence.status().state().error, disk.keys().len()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn a_removed_file_is_found_without_changes_and_while_the_other_one_works() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    let error = || persistence.status().state().error;
    for file in [&disk.registrations, &disk.resources] {
        file.state.lock().removed = true;
        run(&persistence, &registry, Duration::from_millis(2_500)).await;
        assert_eq!(error(), Some(StoreError::Unavailable("it was removed".into())));
        // The next start would fail, or have none of it.
        let commits = disk.registrations.state.lock().commits.len();
        let _session = join(&registry, "a");
        run(&persistence, &registry, Duration::from_millis(2_500)).await;
        assert_eq!(disk.registrations.state.lock().commits.len(), commits);
        assert!(error().is_some());
        file.state.lock().removed = false;
        run(&persistence, &registry, Duration::from_millis(2_500)).await;
        assert_eq!((error(), registry.pending_records()), (None, 0));
        // Without changes too.
        let failures = persistence.status().state().failures;
        file.state.lock().removed = true;
        run(&persistence, &registry, Duration::from_millis(2_500)).await;
        assert!(persistence.status().state().failures > failures, "a check that fails counts");
        file.state.lock().removed = false;
        assert!(error().is_some());
        run(&persistence, &registry, Duration::from_millis(2_500)).await;
        assert_eq!(error(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_files_of_a_busy_server_are_checked_each_second() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    let changes = async {
        for number in 0..1_000 {
            join(&registry, &format!("a{number}")).goodbye();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        never = persistence.run(&registry) => match never {},
        () = changes => {}
    }
    for file in [&disk.registrations, &disk.resources] {
        let checks = file.state.lock().checks;
        assert!((9..=12).contains(&checks), "{checks} in 10 s");
    }
}

#[tokio::test(start_paused = true)]
async fn after_too_many_changes_everything_is_written_again() {
    // With one of these numbers the last change is the one too many.
    for short in 10..30 {
        let log = CapturedLog::start();
        let disk = Disk::default();
        let settings = RegistrySettings { max_dataplanes: 5, ..RegistrySettings::default() };
        let (registry, persistence) = disk.start_with(settings).await;
        let _a = join(&registry, "a");
        join(&registry, "gone").goodbye();
        let _lost = join(&registry, "lost");
        persistence.flush(&registry).await;
        disk.registrations.state.lock().fails = Some(full());
        let _b = join(&registry, "b");
        for number in 0..short {
            join(&registry, &format!("short{number}")).goodbye();
        }
        let _c = join(&registry, "c");
        for _ in 0..2 {
            assert!(!persistence.flush(&registry).await);
        }
        let written_again = || log.with("have been written again").len();
        assert_eq!(written_again(), 0);
        disk.registrations.state.lock().fails = None;
        assert!(persistence.flush(&registry).await);
        assert_eq!(written_again(), 1);
        let names = ["a", "b", "c", "lost"].map(|name| format!("dataplanes/default/default/{name}"));
        assert_eq!(disk.keys(), [&names[..], &["workloads/default/web".to_owned()]].concat(), "{short}");
        assert_eq!(registry.pending_records(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_revision_is_handed_out_twice_whatever_the_clock_says() {
    let disk = Disk::default();
    let mut last = 0;
    for clock in [1_000, 5, u64::MAX / 4, 0] {
        let loaded = disk.load(clock).await;
        assert!(loaded.first_revision >= last && loaded.first_revision >= clock);
        // The server makes some changes.
        last = loaded.first_revision + 1_000_000;
    }
}

#[tokio::test(start_paused = true)]
async fn more_revisions_are_reserved_before_they_are_handed_out() {
    let resources = Map::default();
    let mut reservation = Reservation::begin(&resources, 7).await.unwrap();
    let reserved = |map: &Map| {
        let [item] = map.items().try_into().unwrap();
        assert_eq!(*item.key, *key::REVISIONS);
        proto::store::Revisions::decode(item.value).unwrap().reserved
    };
    let first = reserved(&resources);
    reservation.extend(&resources, 8).await.unwrap();
    assert_eq!((reserved(&resources), resources.state.lock().commits.len()), (first, 1));
    reservation.extend(&resources, first - 10).await.unwrap();
    assert!(reserved(&resources) > first);
}

#[tokio::test(start_paused = true)]
async fn records_that_cannot_be_decoded_are_skipped() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    let _a = join(&registry, "a");
    persistence.flush(&registry).await;
    for (key, value) in [
        ("dataplanes/default/default/b", &b"\xff"[..]),
        ("dataplanes/default/default/c/d", b""),
        ("dataplanes/default/default/E!", b""),
        ("workloads/default/x", b"\x12\x01a"),
    ] {
        let write = Write { key: key.into(), expected: Expected::Absent, value: Some(value.into()) };
        disk.registrations.store.commit(vec![write]).await.unwrap();
    }
    let (after, _) = disk.start().await;
    assert_eq!(after.records().registrations.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_warming_is_recorded() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    let _a = join(&registry, "a");
    persistence.flush(&registry).await;
    let (after, persistence) = disk.start().await;
    advance(Duration::from_secs(1)).await;
    run(&persistence, &after, WARMING + Duration::from_secs(2)).await;
    let (third, _) = disk.start().await;
    assert_eq!(third.warming(), None, "it is lost by now");
    assert_eq!(third.records().registrations.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_warming_that_ends_before_the_writer_begins_is_recorded() {
    let disk = Disk::default();
    let (registry, persistence) = disk.start().await;
    let _a = join(&registry, "a");
    persistence.flush(&registry).await;
    let (after, persistence) = disk.start().await;
    advance(WARMING).await;
    run(&persistence, &after, Duration::from_secs(2)).await;
    let (third, _) = disk.start().await;
    assert_eq!((third.warming(), third.records().registrations.len()), (None, 1), "it is lost by now");
}

fn names() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9]{0,6}[a-z0-9])?"
}

prop_compose! {
    fn dataplanes()(
        (mesh, namespace, name, zone) in (names(), names(), names(), prop_oneof![Just(String::new()), names()]),
        labels in prop::collection::btree_map(names(), names(), 0..4),
        kubernetes in any::<bool>(),
        address in prop_oneof![Just(String::new()), Just("10.0.0.1".to_owned()), names()],
        inbounds in prop::collection::btree_map(1..=65_535_u32, (names(), prop::collection::btree_map(names(), names(), 0..3)), 0..4),
        agent_version in "[ -~]{0,20}",
        workload in prop::option::of(names()),
    ) -> Option<Dataplane> {
        let environment = if kubernetes { Environment::Kubernetes } else { Environment::Universal };
        let workload = workload.map(|workload| (WORKLOAD_LABEL.to_owned(), workload));
        let inbounds =
            inbounds.into_iter().map(|(port, (name, tags))| InboundSpec { port, name, tags }).collect();
        let labels = labels.into_iter().chain(workload).collect();
        let spec =
            DataplaneSpec { mesh, namespace, name, zone, environment, labels, address, inbounds, agent_version };
        Dataplane::parse(&spec, DataplaneLimits::default()).ok()
    }
}

fn times() -> impl Strategy<Value = SystemTime> {
    (0..4_000_000_000_u64, 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos))
}

proptest! {
    #[test]
    fn a_registration_is_read_as_it_was_written(
        dataplane in dataplanes(),
        since in times(),
        retained_until in prop::option::of(times()),
    ) {
        let Some(dataplane) = dataplane else { return Ok(()) };
        let record = RegistrationRecord { dataplane: dataplane.into(), since, retained_until };
        let changes = crate::registry::RecordChanges {
            registrations: [(record.dataplane.key.clone(), Some(record.clone()))].into(),
            ..Default::default()
        };
        let [Write { key, value, .. }] = encode::changes(&changes).try_into().unwrap();
        let item = Item { key, value: value.unwrap(), revision: 1, created: 1 };
        prop_assert_eq!(load::decode_registration(&item), Ok(record));
    }
}
