//! Watches.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::{
    super::{DeltaBatch, Position, Watcher},
    *,
};
use crate::model::{Filter, MeshName};

/// A reader that applies batches as the watch's contract requires.
#[derive(Default)]
struct Reader(BTreeMap<WorkloadKey, (MeshName, Counts)>);

impl Reader {
    fn apply(&mut self, batch: &DeltaBatch) {
        if batch.reset {
            self.0.clear();
        }
        for (key, _) in batch.removed() {
            self.0.remove(key);
        }
        for workload in batch.upserted() {
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
fn a_watch_starts_with_a_snapshot_and_continues_with_deltas() {
    let registry = registry();
    let mut session = join(&registry, "a", "web");
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    let first = watcher.next_now().unwrap();
    assert!(first.reset && first.upserted().count() == 1 && first.synced == Some(1));
    assert!(watcher.next_now().is_none());
    session.report(report(1, HealthState::Ready));
    session.report(report(2, HealthState::NotReady));
    let batch = watcher.next_now().unwrap();
    assert_eq!((batch.reset, batch.upserted().count(), batch.synced), (false, 1, Some(3)));
    assert_eq!(batch.upserted().next().unwrap().counts.healthy, 0, "the newest state only");
    session.goodbye();
    assert_eq!(watcher.next_now().unwrap().removed().next().unwrap().0, &key("web"));
}

#[test]
fn a_workload_created_and_deleted_between_two_reads_is_not_delivered() {
    let registry = registry();
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    watcher.next_now().unwrap();
    join(&registry, "a", "web").goodbye();
    assert!(watcher.next_now().is_none());
    let _b = join(&registry, "b", "api");
    assert_eq!(watcher.next_now().unwrap().upserted().next().unwrap().key(), &key("api"));
}

#[test]
fn a_workload_that_stops_matching_is_removed_and_one_that_starts_is_upserted() {
    let registry = registry();
    let mut readers =
        [("kuma.io/mesh=default", Reader::default()), ("kuma.io/mesh!=default", Reader::default())];
    let mut watchers =
        readers.each_ref().map(|(selector, _)| registry.watch(selecting(selector), None).unwrap());
    let mut assert_names = |expected: [&[&str]; 2]| {
        for ((_, reader), watcher) in readers.iter_mut().zip(&mut watchers) {
            while let Some(batch) = watcher.next_now() {
                reader.apply(&batch);
            }
        }
        assert_eq!(readers.each_ref().map(|(_, reader)| reader.names()), expected);
    };
    assert_names([&[], &[]]);
    let holder = join(&registry, "a", "web");
    let _other = connect(&registry, dataplane_in("other", "b", "web")).unwrap();
    assert_names([&["web"], &[]]);
    holder.goodbye();
    assert_names([&[], &["web"]]);
}

#[test]
fn a_reader_behind_the_log_starts_over_with_a_snapshot() {
    let registry = Registry::new(RegistrySettings { log_capacity: 4, ..settings() });
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    watcher.next_now().unwrap();
    let _sessions: Vec<_> = (0..9).map(|n| join(&registry, &format!("dp-{n}"), &format!("w-{n}"))).collect();
    let batch = watcher.next_now().unwrap();
    assert!(batch.reset);
    assert_eq!((batch.upserted().count(), batch.synced), (9, Some(9)));
    let mut resumed = registry.watch(Filter::default(), Some(Position(2))).unwrap();
    assert!(resumed.next_now().unwrap().reset);
}

#[test]
fn a_resumed_watch_delivers_only_what_the_reader_missed() {
    let registry = registry();
    let _a = join(&registry, "a", "web");
    let position = Position(registry.head());
    let mut quiet = registry.watch(Filter::default(), Some(position)).unwrap();
    let confirmation = quiet.next_now().unwrap();
    assert!(!confirmation.reset && confirmation.deltas.is_empty() && confirmation.synced == Some(1));
    let _b = join(&registry, "b", "api");
    let mut resumed = registry.watch(Filter::default(), Some(position)).unwrap();
    let batch = resumed.next_now().unwrap();
    assert_eq!((batch.reset, batch.upserted().count(), batch.synced), (false, 1, Some(2)));
    assert_eq!(batch.upserted().next().unwrap().key(), &key("api"));
}

#[test]
fn a_large_snapshot_takes_several_batches() {
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
async fn changes_that_do_not_match_do_not_delay_bookmarks() {
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
        () = others => unreachable!("it runs until dropped"),
        () = registry.run() => unreachable!("it runs until dropped"),
    };
    assert!((54..=66).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(bookmark.deltas.is_empty() && bookmark.synced.is_some_and(|revision| revision > 100));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_without_changes_gets_a_bookmark_about_every_minute() {
    let registry = registry();
    let mut watcher = registry.watch(Filter::default(), None).unwrap();
    watcher.next().await;
    let start = Instant::now();
    let bookmark = watcher.next().await;
    assert!((54..=66).contains(&start.elapsed().as_secs()));
    assert!(!bookmark.reset && bookmark.deltas.is_empty() && bookmark.synced == Some(0));
}

#[test]
fn the_watcher_limit_counts_open_watches() {
    let registry = Registry::new(RegistrySettings { max_watchers: 1, ..settings() });
    let watcher = registry.watch(Filter::default(), None).unwrap();
    assert_eq!(registry.watch(Filter::default(), None).unwrap_err(), LimitReached::Watchers { limit: 1 });
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
    let batch = one.next_now().unwrap();
    assert!(Arc::ptr_eq(&batch, &same.next_now().unwrap()));
    assert!(other.next_now().is_none());
    assert!(one.next_now().is_none() && same.next_now().is_none());
    let mut resumed = registry.watch(all, Some(Position(0))).unwrap();
    assert!(Arc::ptr_eq(&batch, &resumed.next_now().unwrap()));
    assert!(resumed.next_now().is_none());
}

#[test]
fn readers_that_have_fallen_behind_share_a_snapshot_while_the_log_reaches_it() {
    let registry = Registry::new(RegistrySettings { log_capacity: 4, ..settings() });
    let mut watchers = [(); 3].map(|()| registry.watch(Filter::default(), None).unwrap());
    for watcher in &mut watchers {
        assert_eq!(watcher.next_now().unwrap().synced, Some(0));
    }
    let mut sessions: Vec<_> = (0..6).map(|n| join(&registry, &format!("{n}"), "web")).collect();
    let [first, second, third] = &mut watchers;
    let reset = |watcher: &mut Watcher| {
        let batch = watcher.next_now().unwrap();
        assert!(batch.reset);
        batch.synced
    };
    assert_eq!(reset(first), Some(6));
    sessions.push(join(&registry, "7", "web"));
    assert_eq!(reset(second), Some(6), "the first reader's snapshot");
    sessions.extend((8..13).map(|n| join(&registry, &format!("{n}"), "web")));
    assert_eq!(reset(third), Some(12), "the log reaches back to 8 only");
}

/// One worker serves both tasks. The first waits for the lock of an entry while it makes a
/// snapshot; the second can only run if another thread takes over the worker meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watcher_that_starts_over_does_not_block_its_worker() {
    let registry = Registry::new(RegistrySettings { log_capacity: 1, ..settings() });
    let _sessions = ["a", "b", "c"].map(|name| join(&registry, name, name));
    let mut behind = registry.watch(Filter::default(), Some(Position(0))).unwrap();
    let entry = registry.shared.entries.all().pop().unwrap();
    let (ran, has_run) = std::sync::mpsc::channel();
    let reset = entry.read(|_| {
        let reset = tokio::spawn(async move { behind.next().await.reset });
        tokio::spawn(async move { ran.send(()).unwrap() });
        has_run.recv_timeout(Duration::from_secs(30)).expect("the worker is not blocked");
        reset
    });
    assert!(reset.await.unwrap());
}
