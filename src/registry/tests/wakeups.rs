//! Which changes wake a watcher, and how often the log is read for watchers.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::{
    super::{DeltaBatch, Position, Watcher},
    *,
};
use crate::model::{FieldSelector, Filter, NAME_FIELD, NAMESPACE_FIELD, WorkloadKey};

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

type NextBatch<'a> = Pin<Box<dyn Future<Output = Arc<DeltaBatch>> + 'a>>;

/// Watchers that wait for their next batch, and how often each has been woken.
struct Waiting<'a>(Vec<(NextBatch<'a>, Arc<Wakes>)>);

impl<'a> Waiting<'a> {
    fn new(watchers: &'a mut [Watcher]) -> Self {
        let mut waiting = Self(Vec::new());
        for watcher in watchers {
            while watcher.next_now().is_some() {}
            let (mut next, count) = (Box::pin(watcher.next()), Arc::<Wakes>::default());
            let waker = Waker::from(Arc::clone(&count));
            assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            waiting.0.push((next, count));
        }
        waiting
    }

    /// The numbers of the watchers that were woken since the last call, with their batch if
    /// they have one.
    fn woken(&mut self) -> Vec<(usize, Option<Arc<DeltaBatch>>)> {
        let mut woken = Vec::new();
        for (number, (next, count)) in self.0.iter_mut().enumerate() {
            if count.0.swap(0, Relaxed) > 0 {
                let waker = Waker::from(Arc::clone(count));
                let batch = match next.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(batch) => Some(batch),
                    Poll::Pending => None,
                };
                woken.push((number, batch));
            }
        }
        woken
    }
}

fn named(name: &str) -> Filter {
    Filter { name: Some(key(name).name), ..Filter::default() }
}

fn in_namespace(name: &str) -> Filter {
    Filter { namespace: Some(key(name).namespace), ..named(name) }
}

fn by_fields(name: &str) -> Filter {
    let text = format!("{NAME_FIELD}={name},{NAMESPACE_FIELD}=default");
    Filter {
        fields: FieldSelector::parse(&text, &[NAME_FIELD, NAMESPACE_FIELD]).unwrap(),
        ..Filter::default()
    }
}

fn upserted(batch: Option<Arc<DeltaBatch>>) -> Vec<WorkloadKey> {
    batch.expect("a batch").upserted().map(|workload| workload.key().clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_only_those_of_a_thousand_watchers_that_watch_its_name() {
    let registry = registry();
    let mut session = join(&registry, "a", "w-500");
    for filter in [named, in_namespace, by_fields] {
        let watch = |n: usize| registry.watch(filter(&format!("w-{n}")), None).unwrap();
        let mut watchers: Vec<_> = (0..1_000).map(watch).collect();
        let mut waiting = Waiting::new(&mut watchers);
        session.report(report(1, HealthState::Ready));
        session.report(report(2, HealthState::NotReady));
        let mut woken = waiting.woken();
        assert_eq!(woken.len(), 1, "{:?}", woken.iter().map(|(number, _)| number).collect::<Vec<_>>());
        let (number, batch) = woken.pop().unwrap();
        assert_eq!((number, upserted(batch)), (500, vec![key("w-500")]));
        // A Workload that does not exist yet.
        let created = join(&registry, "b", "w-7");
        let mut woken = waiting.woken();
        assert_eq!(woken.len(), 1);
        let (number, batch) = woken.pop().unwrap();
        assert_eq!((number, upserted(batch)), (7, vec![key("w-7")]));
        created.goodbye();
    }
    assert_eq!(registry.shared.log.watched_names(), 0, "a name is removed with its last watcher");
}

#[tokio::test(start_paused = true)]
async fn many_watchers_of_one_name_are_woken_by_the_registrys_task() {
    let registry = registry();
    let mut watchers: Vec<_> =
        (0..100).map(|n| registry.watch(named(["web", "api"][n % 2]), None).unwrap()).collect();
    let mut waiting = Waiting::new(&mut watchers);
    let _web = join(&registry, "a", "web");
    assert!(waiting.woken().is_empty(), "the writer wakes the task only");
    let mut run = pin!(registry.run());
    let mut context = Context::from_waker(Waker::noop());
    assert!(run.as_mut().poll(&mut context).is_pending());
    let woken = waiting.woken();
    assert!(woken.iter().map(|(number, _)| *number).eq((0..100).step_by(2)));
    let first = woken[0].1.as_ref().unwrap();
    assert!(woken.iter().all(|(_, batch)| Arc::ptr_eq(batch.as_ref().unwrap(), first)), "they share a batch");
}

#[tokio::test(start_paused = true)]
async fn the_log_is_read_once_for_watchers_with_a_thousand_different_filters() {
    let registry = registry();
    let mut sessions: Vec<_> = (0..10).map(|n| join(&registry, &format!("{n}"), &format!("w-{n}"))).collect();
    let except = |n: usize| {
        let fields = FieldSelector::parse(&format!("{NAME_FIELD}!=w-{n}"), &[NAME_FIELD]).unwrap();
        registry.watch(Filter { fields, ..Filter::default() }, None).unwrap()
    };
    let mut watchers: Vec<_> = (0..1_000).map(except).collect();
    for watcher in &mut watchers {
        while watcher.next_now().is_some() {}
    }
    for sequence in 1..=5 {
        let reads = registry.shared.log.reads();
        for session in &mut sessions {
            let states = [HealthState::NotReady, HealthState::Ready];
            session.report(report(sequence, states[usize::try_from(sequence % 2).unwrap()]));
        }
        // More than FEW watchers are woken by the registry's task.
        assert!(registry.run().now_or_never().is_none());
        for (n, watcher) in watchers.iter_mut().enumerate() {
            let batch = watcher.next_now().unwrap();
            let excluded = batch.upserted().any(|workload| workload.key() == &key(&format!("w-{n}")));
            assert_eq!((batch.deltas.len(), excluded), (if n < 10 { 9 } else { 10 }, false));
            assert!(watcher.next_now().is_none());
        }
        assert_eq!(registry.shared.log.reads() - reads, 1);
    }
}

#[test]
fn a_watcher_of_a_name_that_is_far_behind_misses_nothing() {
    let registry = registry();
    let _other = join(&registry, "other", "api");
    let mut live = registry.watch(in_namespace("web"), None).unwrap();
    let mut lifetimes = registry
        .watch_lifetimes(&Accounts::default(), in_namespace("web"), Position(registry.head()))
        .unwrap();
    assert!(live.next_now().unwrap().reset && lifetimes.next_now().unwrap().deltas.is_empty());
    for _ in 0..50 {
        join(&registry, "a", "web").goodbye();
        join(&registry, "b", "api").goodbye();
    }
    let _web = join(&registry, "a", "web");
    let batch = live.next_now().unwrap();
    assert_eq!((batch.deltas.len(), batch.upserted().count()), (1, 1), "{batch:?}");
    let mut deltas = 0;
    while let Some(batch) = lifetimes.next_now() {
        assert!(!batch.reset);
        deltas += batch.deltas.len();
    }
    assert_eq!(deltas, 101, "each creation and each deletion");
    assert!(live.next_now().is_none());
}

#[test]
fn a_watcher_of_a_name_follows_its_labels() {
    let registry = registry();
    let join_in = |name: &str, zone: &str| {
        let labels = [(WORKLOAD_LABEL.to_owned(), "web".to_owned())].into();
        let (mesh, name, zone) = ("default".into(), name.into(), zone.into());
        let spec = DataplaneSpec { mesh, name, zone, labels, ..DataplaneSpec::default() };
        let parsed = Dataplane::parse(&spec, DataplaneLimits::default()).unwrap();
        connect(&registry, parsed).unwrap().session
    };
    let mut east = join_in("a", "east");
    let filter = || Filter { selector: "kuma.io/zone=east".parse().unwrap(), ..in_namespace("web") };
    let from = Position(registry.head());
    let mut watchers = [
        registry.watch(filter(), Some(from)).unwrap(),
        registry.watch_lifetimes(&Accounts::default(), filter(), from).unwrap(),
    ];
    let mut read = || {
        watchers.each_mut().map(|watcher| {
            let batch = watcher.next_now().unwrap();
            assert!(!batch.reset && batch.synced == Some(registry.head()));
            (batch.upserted().count(), batch.removed().count())
        })
    };
    assert_eq!(read(), [(0, 0); 2]);
    east.report(report(1, HealthState::Ready));
    let west = join_in("b", "west");
    assert_eq!(read(), [(0, 1); 2], "its members no longer share a zone");
    west.goodbye();
    assert_eq!(read(), [(1, 0); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_of_a_watcher_of_a_name_states_the_latest_revision() {
    let registry = registry();
    let mut watcher = registry.watch(in_namespace("web"), None).unwrap();
    watcher.next().await;
    for n in 0..100 {
        join(&registry, "a", &format!("w-{n}")).goodbye();
    }
    let bookmark = watcher.next().await;
    assert!(bookmark.deltas.is_empty() && !bookmark.reset);
    assert_eq!(bookmark.synced, Some(registry.head()));
}

#[test]
fn a_watcher_of_one_name_starts_with_that_workload_only() {
    let registry = registry();
    let _sessions: Vec<_> = (0..3).map(|n| join(&registry, &format!("{n}"), &format!("w-{n}"))).collect();
    let names = |filter: Filter| {
        let batch = registry.watch(filter, None).unwrap().next_now().unwrap();
        assert!(batch.reset && batch.synced == Some(3));
        batch.upserted().map(|workload| workload.key().name.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(in_namespace("w-1")), ["w-1"]);
    assert_eq!(names(named("w-2")), ["w-2"]);
    assert_eq!(names(in_namespace("w-3")), [""; 0]);
    let other_mesh =
        Filter { mesh: Some(crate::model::MeshName::parse("", "other").unwrap()), ..in_namespace("w-1") };
    assert_eq!(names(other_mesh), [""; 0]);
}
