//! The registry from outside, without a socket.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::*;
use crate::model::{
    Counts, DataplaneLimits, DataplaneSpec, Filter, Health, HealthReport, HealthState, InboundSpec, MeshName,
    WORKLOAD_LABEL, WorkloadKey,
};

fn dataplane_in(mesh: &str, name: &str, workload: &str) -> Dataplane {
    let label = (!workload.is_empty()).then(|| (WORKLOAD_LABEL.to_owned(), workload.to_owned()));
    let spec = DataplaneSpec {
        mesh: mesh.into(),
        name: name.into(),
        labels: label.into_iter().collect(),
        inbounds: vec![InboundSpec { port: 80, ..InboundSpec::default() }],
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
}

pub(crate) fn dataplane(name: &str, workload: &str) -> Dataplane {
    dataplane_in("default", name, workload)
}

pub(crate) fn key(workload: &str) -> WorkloadKey {
    crate::WorkloadKey::parse("", workload).unwrap()
}

pub(crate) fn report(sequence: u64, state: HealthState) -> HealthReport {
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, state);
    HealthReport { sequence, health }
}

fn registry() -> Registry {
    Registry::new(RegistrySettings::default())
}

pub(crate) fn join(registry: &Registry, name: &str, workload: &str) -> Session {
    registry.hello(dataplane(name, workload)).unwrap().session
}

/// connected, healthy, total; none if there is no Workload.
pub(crate) fn counts(registry: &Registry, workload: &str) -> Option<(u32, u32, u32)> {
    let Counts { connected, healthy, total } = registry.get(&key(workload)).0?.counts;
    Some((connected, healthy, total))
}

#[test]
fn a_session_is_counted_for_as_long_as_it_lives() {
    let registry = registry();
    let session = join(&registry, "a", "web");
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
fn an_identical_report_costs_no_revision() {
    let registry = registry();
    let session = join(&registry, "a", "web");
    session.report(report(1, HealthState::Ready));
    let before = registry.head();
    session.report(report(2, HealthState::Ready));
    assert_eq!(registry.head(), before);
    let (views, _) = registry.dataplanes(|_| true, 10, None);
    assert_eq!(views[0].session.unwrap().1.sequence, 2, "though it is remembered");
}

#[test]
fn the_newest_session_wins_and_the_older_ones_end_changes_nothing() {
    let registry = registry();
    let older = join(&registry, "a", "web");
    older.report(report(1, HealthState::Ready));
    let newer = join(&registry, "a", "web");
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
async fn a_takeover_is_told_to_the_older_session() {
    let registry = registry();
    let older = join(&registry, "a", "web");
    let _newer = join(&registry, "a", "web");
    assert_eq!(older.notice().await, Notice::Superseded);
}

#[tokio::test]
async fn a_drain_is_told_to_all_sessions_and_to_those_that_come_later() {
    let registry = registry();
    let here = join(&registry, "a", "web");
    registry.drain();
    let late = join(&registry, "b", "web");
    assert_eq!((here.notice().await, late.notice().await), (Notice::Draining, Notice::Draining));
    assert_eq!(counts(&registry, "web"), Some((2, 0, 2)), "they count until they go");
    let _newer = join(&registry, "a", "web");
    assert_eq!(here.notice().await, Notice::Superseded, "the newest is told");
}

#[test]
fn a_superseded_goodbye_does_not_unregister() {
    let registry = registry();
    let older = join(&registry, "a", "web");
    let _newer = join(&registry, "a", "web");
    older.goodbye();
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
}

#[test]
fn a_takeover_may_move_the_dataplane_in_one_step() {
    let registry = registry();
    let older = join(&registry, "a", "web");
    let _peer = join(&registry, "b", "web");
    older.report(report(1, HealthState::Ready));
    let before = registry.head();
    let _newer = join(&registry, "a", "api");
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    assert_eq!(counts(&registry, "api"), Some((1, 0, 1)));
    let step = registry.shared.log.read(before, registry.head(), 1).unwrap();
    assert_eq!(step.len(), 2, "readers see both changes together");
}

#[test]
fn a_lost_dataplane_that_comes_back_elsewhere_moves_too() {
    let registry = registry();
    drop(join(&registry, "a", "web"));
    let _back = join(&registry, "a", "api");
    assert_eq!((counts(&registry, "web"), counts(&registry, "api")), (None, Some((1, 0, 1))));
}

#[test]
fn a_dataplane_without_the_label_is_a_session_of_no_workload() {
    let registry = registry();
    let session = join(&registry, "a", "");
    session.report(report(1, HealthState::Ready));
    assert_eq!(registry.head(), 0);
    assert!(registry.snapshot().workloads.is_empty());
    let groups = registry.groups();
    assert_eq!((groups.len(), groups[0].counts.healthy, groups[0].holds), (1, 1, false));
}

#[tokio::test(start_paused = true)]
async fn a_lost_dataplane_is_forgotten_after_the_retention_and_not_before() {
    let registry = registry();
    let running = tokio::spawn({
        let registry = registry.clone();
        async move { registry.run().await }
    });
    let mut news = registry.subscribe();
    let start = Instant::now();
    drop(join(&registry, "a", "web"));
    tokio::time::advance(Duration::from_secs(10)).await;
    drop(join(&registry, "b", "web"));
    let returned = join(&registry, "b", "web");
    while counts(&registry, "web") == Some((1, 0, 2)) {
        news.changed().await.unwrap();
    }
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    assert_eq!(start.elapsed().as_secs(), 15 * 60);
    drop(returned);
    while counts(&registry, "web").is_some() {
        news.changed().await.unwrap();
    }
    assert_eq!(start.elapsed().as_secs(), 30 * 60, "the clock starts anew with each loss");
    running.abort();
}

#[test]
fn without_retention_a_loss_unregisters() {
    let registry =
        Registry::new(RegistrySettings { retention: Duration::ZERO, ..RegistrySettings::default() });
    drop(join(&registry, "a", "web"));
    assert_eq!(counts(&registry, "web"), None);
}

#[test]
fn a_second_mesh_gets_a_warning_and_an_event_once() {
    let registry = registry();
    let holder = join(&registry, "a", "web");
    let mut others = Vec::new();
    for name in ["b", "c"] {
        let welcome = registry.hello(dataplane_in("other", name, "web")).unwrap();
        assert!(welcome.warnings[0].contains("mesh default holds the name"), "{:?}", welcome.warnings);
        others.push(welcome.session);
    }
    let (events, _) = registry.events().after(0);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].count, 2);
    assert_eq!(
        events[0].message,
        "Skipping Workload generation: namespace default has dataplanes in multiple meshes (2 meshes) for workload \
         web. This configuration is not supported."
    );
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
    holder.goodbye();
    let workload = registry.get(&key("web")).0.unwrap();
    assert_eq!((workload.identity.mesh.as_str(), workload.counts.total), ("other", 2));
}

#[test]
fn the_limit_refuses_newcomers_but_no_takeover() {
    let settings = RegistrySettings { max_sessions: 1, ..RegistrySettings::default() };
    let registry = Registry::new(settings);
    let first = join(&registry, "a", "web");
    assert_eq!(registry.hello(dataplane("b", "web")).unwrap_err(), Full::Sessions { limit: 1 });
    assert_eq!(registry.dataplanes(|_| true, 9, None).0.len(), 1, "a refused hello leaves nothing behind");
    let second = join(&registry, "a", "web");
    drop(first);
    assert!(registry.hello(dataplane("b", "web")).is_err());
    drop(second);
    let _room = join(&registry, "b", "web");
    assert!(registry.hello(dataplane("a", "web")).is_err(), "a lost one needs room to return");
}

#[test]
fn when_registrations_are_full_the_oldest_lost_makes_room() {
    let registry = Registry::new(RegistrySettings { max_dataplanes: 2, ..RegistrySettings::default() });
    for name in ["a", "b"] {
        drop(join(&registry, name, "web"));
    }
    let _c = join(&registry, "c", "web");
    let (left, _) = registry.dataplanes(|_| true, 9, None);
    assert_eq!(left.iter().map(|view| view.dataplane.key.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    let _b = join(&registry, "b", "web");
    assert_eq!(registry.hello(dataplane("d", "web")).unwrap_err(), Full::Dataplanes { limit: 2 });
}

#[test]
fn lookups_of_strangers_leave_no_entry() {
    let registry = registry();
    assert!(registry.get(&key("nobody")).0.is_none());
    assert!(registry.shared.entries.all().is_empty());
    assert_eq!(registry.head(), 0);
}

#[test]
fn pages_of_a_listing_show_one_revision() {
    let registry = registry();
    let mut sessions: Vec<_> = ["a", "b", "c"].map(|name| join(&registry, name, name)).into();
    let first = registry.list(&Filter::default(), 2, None, None).unwrap();
    assert_eq!(first.workloads.len(), 2);
    let after = first.next_after.clone().unwrap();
    sessions.pop().unwrap().goodbye();
    sessions.push(join(&registry, "d", "d"));
    let second = registry.list(&Filter::default(), 2, Some(first.revision), Some(&after)).unwrap();
    assert_eq!(second.workloads[0].key(), &key("c"), "gone by now, but there at the listing's revision");
    assert_eq!((second.workloads.len(), second.next_after, second.revision), (1, None, first.revision));
}

#[test]
fn a_listing_older_than_the_log_says_so() {
    let registry = Registry::new(RegistrySettings { log_capacity: 2, ..RegistrySettings::default() });
    let _sessions = ["a", "b", "c"].map(|name| join(&registry, name, name));
    assert_eq!(registry.list(&Filter::default(), 2, Some(0), None).unwrap_err(), PageError { revision: 0 });
}

#[test]
fn dataplanes_are_listed_in_pages() {
    let registry = registry();
    let _sessions = ["c", "a", "b"].map(|name| join(&registry, name, "web"));
    let (page, next_after) = registry.dataplanes(|_| true, 2, None);
    let names =
        |page: &[DataplaneView]| page.iter().map(|v| v.dataplane.key.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&page), ["a", "b"]);
    let (page, end) = registry.dataplanes(|_| true, 2, next_after.as_ref());
    assert_eq!((names(&page), end), (vec!["c".to_owned()], None));
}

/// What a reader knows who does as the watch's contract says.
#[derive(Default)]
struct Reader(BTreeMap<WorkloadKey, (MeshName, Counts)>);

impl Reader {
    fn take(&mut self, step: &Step) {
        if step.reset {
            self.0.clear();
        }
        for (key, _) in step.removed() {
            self.0.remove(key);
        }
        for workload in step.upserted() {
            self.0.insert(workload.key().clone(), (workload.identity.mesh.clone(), workload.counts));
        }
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(|key| key.name.as_str()).collect()
    }
}

fn selecting(selector: &str) -> Filter {
    Filter { selector: selector.parse().unwrap(), ..Filter::default() }
}

#[test]
fn a_watch_begins_with_a_snapshot_and_goes_on_with_what_changes() {
    let registry = registry();
    let session = join(&registry, "a", "web");
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    let first = watcher.next_now().unwrap();
    assert!(first.reset && first.upserted().count() == 1 && first.synced == Some(1));
    assert!(watcher.next_now().is_none());
    session.report(report(1, HealthState::Ready));
    session.report(report(2, HealthState::NotReady));
    let step = watcher.next_now().unwrap();
    assert_eq!((step.reset, step.upserted().count(), step.synced), (false, 1, Some(3)));
    assert_eq!(step.upserted().next().unwrap().counts.healthy, 0, "the newest state only");
    session.goodbye();
    assert_eq!(watcher.next_now().unwrap().removed().next().unwrap().0, &key("web"));
}

#[test]
fn what_came_and_went_unseen_is_not_mentioned() {
    let registry = registry();
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    watcher.next_now().unwrap();
    join(&registry, "a", "web").goodbye();
    assert!(watcher.next_now().is_none());
    let _b = join(&registry, "b", "api");
    assert_eq!(watcher.next_now().unwrap().upserted().next().unwrap().key(), &key("api"));
}

#[test]
fn an_object_that_stops_to_match_is_removed_and_one_that_starts_is_upserted() {
    let registry = registry();
    let mut readers =
        [("kuma.io/mesh=default", Reader::default()), ("kuma.io/mesh!=default", Reader::default())];
    let mut watchers =
        readers.each_ref().map(|(selector, _)| registry.watch(selecting(selector), None).unwrap());
    let mut told = |expected: [&[&str]; 2]| {
        for ((_, reader), watcher) in readers.iter_mut().zip(&mut watchers) {
            while let Some(step) = watcher.next_now() {
                reader.take(&step);
            }
        }
        assert_eq!(readers.each_ref().map(|(_, reader)| reader.names()), expected);
    };
    told([&[], &[]]);
    let holder = join(&registry, "a", "web");
    let _other = registry.hello(dataplane_in("other", "b", "web")).unwrap();
    told([&["web"], &[]]);
    holder.goodbye();
    told([&[], &["web"]]);
}

#[test]
fn a_reader_who_was_too_slow_or_too_long_away_starts_anew() {
    let registry = Registry::new(RegistrySettings { log_capacity: 4, ..RegistrySettings::default() });
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    watcher.next_now().unwrap();
    let _sessions: Vec<_> = (0..9).map(|n| join(&registry, &format!("dp-{n}"), &format!("w-{n}"))).collect();
    let step = watcher.next_now().unwrap();
    assert!(step.reset);
    assert_eq!((step.upserted().count(), step.synced), (9, Some(9)));
    let mut resumed = registry.watch(Filter::default(), Some(Position(2))).unwrap();
    assert!(resumed.next_now().unwrap().reset);
}

#[test]
fn a_reader_who_resumes_hears_only_what_it_missed() {
    let registry = registry();
    let _a = join(&registry, "a", "web");
    let position = Position(registry.head());
    let mut quiet = registry.watch(Filter::default(), Some(position)).unwrap();
    let greeting = quiet.next_now().unwrap();
    assert!(!greeting.reset && greeting.told.is_empty() && greeting.synced == Some(1));
    let _b = join(&registry, "b", "api");
    let mut resumed = registry.watch(Filter::default(), Some(position)).unwrap();
    let step = resumed.next_now().unwrap();
    assert_eq!((step.reset, step.upserted().count(), step.synced), (false, 1, Some(2)));
    assert_eq!(step.upserted().next().unwrap().key(), &key("api"));
}

#[test]
fn a_large_snapshot_comes_in_parts_and_is_whole_at_the_last() {
    let registry = registry();
    let sessions: Vec<_> = (0..100).map(|n| join(&registry, &format!("dp-{n}"), &format!("w-{n}"))).collect();
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    let first = watcher.next_now().unwrap();
    assert_eq!((first.reset, first.upserted().count(), first.synced), (true, 64, None));
    let last = watcher.next_now().unwrap();
    assert_eq!((last.reset, last.upserted().count(), last.synced), (false, 36, Some(100)));
    sessions.into_iter().for_each(Session::goodbye);
    let first = watcher.next_now().unwrap();
    assert_eq!((first.removed().count(), first.synced), (64, None));
    let last = watcher.next_now().unwrap();
    assert_eq!((last.removed().count(), last.synced), (36, Some(200)));
}

#[tokio::test(start_paused = true)]
async fn changes_that_a_reader_does_not_see_keep_no_bookmark_from_it() {
    let registry = registry();
    let mut watcher = registry.watch(selecting("kuma.io/mesh=other"), None).unwrap();
    watcher.next().await;
    let start = Instant::now();
    let others = async {
        for n in 0.. {
            tokio::time::sleep(Duration::from_secs(1)).await;
            join(&registry, "a", &format!("w-{n}")).goodbye();
        }
    };
    let bookmark = tokio::select! {
        bookmark = watcher.next() => bookmark,
        () = others => unreachable!("they go on for ever"),
        () = registry.run() => unreachable!("it runs for ever"),
    };
    assert!((54..=66).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(bookmark.told.is_empty() && bookmark.synced.is_some_and(|revision| revision > 100));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watcher_gets_a_bookmark_about_every_minute() {
    let registry = registry();
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    watcher.next().await;
    let start = Instant::now();
    let bookmark = watcher.next().await;
    assert!((54..=66).contains(&start.elapsed().as_secs()));
    assert!(!bookmark.reset && bookmark.told.is_empty() && bookmark.synced == Some(0));
}

#[test]
fn the_limit_of_watchers_counts_the_living() {
    let registry = Registry::new(RegistrySettings { max_watchers: 1, ..RegistrySettings::default() });
    let watcher = registry.watch(Filter::default(), None).unwrap();
    assert_eq!(registry.watch(Filter::default(), None).unwrap_err(), Full::Watchers { limit: 1 });
    drop(watcher);
    assert_eq!(registry.watchers(), 0);
    registry.watch(Filter::default(), None).unwrap();
}

#[test]
fn watchers_who_look_for_the_same_share_each_step() {
    let registry = registry();
    let watch = |filter: &Filter| {
        let mut watcher = registry.watch(filter.clone(), None).unwrap();
        watcher.next_now().unwrap();
        watcher
    };
    let all = Filter::default();
    let elsewhere = Filter { mesh: Some(MeshName::parse("", "elsewhere").unwrap()), ..Filter::default() };
    let (mut one, mut same, mut other) = (watch(&all), watch(&all), watch(&elsewhere));
    let _session = join(&registry, "a", "web");
    let step = one.next_now().unwrap();
    assert!(Arc::ptr_eq(&step, &same.next_now().unwrap()));
    assert!(other.next_now().is_none());
    assert!(one.next_now().is_none() && same.next_now().is_none());
    let mut resumed = registry.watch(all, Some(Position(0))).unwrap();
    assert!(Arc::ptr_eq(&step, &resumed.next_now().unwrap()));
    assert!(resumed.next_now().is_none());
}

#[tokio::test(start_paused = true)]
async fn those_who_are_known_are_let_in_before_strangers_and_at_their_own_pace() {
    let settings = RegistrySettings { max_session_rate: 10, ..RegistrySettings::default() };
    let registry = Registry::new(settings);
    let known = dataplane("known", "web");
    let session = registry.hello(known.clone()).unwrap().session;
    let soonest = Instant::now() + Duration::from_millis(100);
    assert_eq!(registry.admit(&known.key, Caller::Patient), Ok(soonest), "its last hello was only just now");
    drop(session);
    let stranger = |n: usize| dataplane(&format!("p{n}"), "web").key;
    let admitted = (0..100).filter(|n| registry.admit(&stranger(*n), Caller::Patient).is_ok()).count();
    assert_eq!(admitted, 4, "half of ten, with the one before");
    assert_eq!(registry.gate(Caller::Patient), Ok(()));
    let admitted = (0..100).filter(|_| registry.admit(&known.key, Caller::Patient) == Ok(soonest)).count();
    assert_eq!(admitted, 5, "one that is lost is known still");
    assert!(matches!(registry.gate(Caller::Patient), Err(Full::SessionRate { limit: 10, .. })));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(registry.gate(Caller::Patient), Ok(()));
    assert_eq!(registry.admit(&known.key, Caller::Patient), Ok(soonest), "long over");
}
