//! The rules that every store keeps. A rule gets an empty store, whose latest revision may be any.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all};
use headcount::store::{Change, Expected, Item, Outcome, Store, StoreError, Watch, WatchError, Write};

use super::subject::{Durable, Subject, delete, put};

/// A test for each rule, with the subject that the expression makes.
macro_rules! every_rule {
    ($subject:expr) => {
        every_rule! { $subject =>
            an_empty_store_has_no_entries,
            a_prefix_selects_the_keys_that_begin_with_it_in_their_order,
            all_writes_of_a_commit_have_its_revision,
            an_entry_keeps_the_revision_of_its_creation_until_it_is_deleted,
            a_condition_that_is_false_leaves_the_entry_and_the_other_writes_alone,
            a_commit_that_changes_nothing_has_no_revision,
            a_key_that_occurs_twice_is_rejected,
            large_and_empty_values_and_any_bytes_are_kept,
            a_watch_has_each_commit_after_its_revision_once,
            a_watch_waits_for_the_next_commit_under_its_prefix,
            a_load_and_a_watch_after_it_miss_nothing,
            increments_by_compare_and_set_are_not_lost,
            a_watch_of_changes_that_are_gone_fails_and_ends,
        }
    };
    ($subject:expr => $($rule:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                conformance::$rule($subject).await;
            }
        )*
        // Blocking work runs in place there.
        #[tokio::test]
        async fn on_one_thread() {
            conformance::a_load_and_a_watch_after_it_miss_nothing($subject).await;
        }
    };
}

/// A test for each rule about a store that is closed and opened again.
macro_rules! every_rule_of_durability {
    ($subject:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn entries_and_revisions_go_on_after_it_is_opened_again() {
            conformance::entries_and_revisions_go_on_after_it_is_opened_again($subject).await;
        }
    };
}

async fn commit(store: &dyn Store, writes: Vec<Write>) -> (u64, Vec<Outcome>) {
    let committed = store.commit(writes).await.unwrap();
    (committed.revision, committed.outcomes)
}

async fn load(store: &dyn Store, prefix: &[u8]) -> Vec<Item> {
    store.load(prefix).await.unwrap().items
}

async fn keys(store: &dyn Store, prefix: &[u8]) -> Vec<Bytes> {
    load(store, prefix).await.into_iter().map(|item| item.key).collect()
}

/// The next item of a watch, which must come.
async fn next(watch: &mut Watch) -> Result<Vec<Change>, WatchError> {
    let next = tokio::time::timeout(Duration::from_mins(1), watch.next()).await;
    next.expect("a change in time").expect("the watch goes on")
}

fn item(key: &'static str, value: &'static str, revision: u64, created: u64) -> Item {
    Item { key: key.into(), value: value.into(), revision, created }
}

fn when(write: Write, expected: Expected) -> Write {
    Write { expected, ..write }
}

pub async fn an_empty_store_has_no_entries(subject: impl Subject) {
    let store = subject.store();
    let loaded = store.load(b"").await.unwrap();
    assert_eq!(loaded.items, []);
    let (revision, _) = commit(&*store, vec![put("a", "1")]).await;
    assert!(revision > loaded.revision);
    assert_eq!(store.load(b"").await.unwrap().revision, revision);
}

pub async fn a_prefix_selects_the_keys_that_begin_with_it_in_their_order(subject: impl Subject) {
    let store = subject.store();
    let all: [&[u8]; 8] = [b"a", b"a.", b"a/", b"a/\x00", b"a/b", b"a/\xff", b"a/\xff\xff", b"a0"];
    let writes = all.iter().rev().map(|key| put(*key, "1")).collect();
    commit(&*store, writes).await;
    for prefix in [&b""[..], b"a", b"a/", b"a/\xff", b"a/\xff\xff", b"a0", b"a/b/", b"b", b"\xff"] {
        let expected: Vec<_> = all.iter().copied().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(keys(&*store, prefix).await, expected, "{}", prefix.escape_ascii());
    }
}

pub async fn all_writes_of_a_commit_have_its_revision(subject: impl Subject) {
    let store = subject.store();
    let (first, outcomes) = commit(&*store, vec![put("a", "1"), put("b", "1")]).await;
    assert_eq!(outcomes, [Outcome::Applied; 2]);
    let (second, _) = commit(&*store, vec![put("c", "2"), put("a", "2"), delete("b")]).await;
    assert!(second > first);
    let loaded = store.load(b"").await.unwrap();
    assert_eq!(loaded.items, [item("a", "2", second, first), item("c", "2", second, second)]);
    assert_eq!(loaded.revision, second);
}

pub async fn an_entry_keeps_the_revision_of_its_creation_until_it_is_deleted(subject: impl Subject) {
    let store = subject.store();
    let (created, _) = commit(&*store, vec![put("a", "1")]).await;
    let (second, _) = commit(&*store, vec![put("a", "1")]).await;
    assert_eq!(load(&*store, b"").await, [item("a", "1", second, created)]);
    commit(&*store, vec![delete("a")]).await;
    let (again, _) = commit(&*store, vec![put("a", "1")]).await;
    assert_eq!(load(&*store, b"").await, [item("a", "1", again, again)]);
}

pub async fn a_condition_that_is_false_leaves_the_entry_and_the_other_writes_alone(subject: impl Subject) {
    let store = subject.store();
    let (old, _) = commit(&*store, vec![put("a", "1")]).await;
    let (now, _) = commit(&*store, vec![put("a", "2"), put("b", "1"), put("d", "1")]).await;
    let (third, outcomes) = commit(
        &*store,
        vec![
            when(put("a", "3"), Expected::Absent),
            when(put("b", "3"), Expected::Revision(now)),
            when(put("c", "3"), Expected::Revision(now)),
            when(delete("d"), Expected::Revision(old)),
            when(put("e", "3"), Expected::Absent),
        ],
    )
    .await;
    let conflict = Outcome::Conflict;
    let expected =
        [conflict(Some(now)), Outcome::Applied, conflict(None), conflict(Some(now)), Outcome::Applied];
    assert_eq!(outcomes, expected);
    let items = [
        item("a", "2", now, old),
        item("b", "3", third, now),
        item("d", "1", now, now),
        item("e", "3", third, third),
    ];
    assert_eq!(load(&*store, b"").await, items);
    let (_, outcomes) = commit(&*store, vec![when(delete("d"), Expected::Revision(now))]).await;
    assert_eq!((outcomes, keys(&*store, b"d").await), (vec![Outcome::Applied], vec![]));
}

pub async fn a_commit_that_changes_nothing_has_no_revision(subject: impl Subject) {
    let store = subject.store();
    let (revision, _) = commit(&*store, vec![put("a", "1")]).await;
    let mut watch = store.watch(b"", revision);
    assert_eq!(commit(&*store, vec![]).await, (revision, vec![]));
    let absent = vec![delete("b"), when(put("a", "2"), Expected::Absent)];
    let outcomes = vec![Outcome::Applied, Outcome::Conflict(Some(revision))];
    assert_eq!(commit(&*store, absent).await, (revision, outcomes));
    assert_eq!(store.load(b"").await.unwrap().revision, revision);
    // The watch has had no change until this one.
    let (next_revision, _) = commit(&*store, vec![put("b", "2")]).await;
    assert!(next_revision > revision);
    let change = Change::Put(item("b", "2", next_revision, next_revision));
    assert_eq!(next(&mut watch).await, Ok(vec![change]));
}

pub async fn a_key_that_occurs_twice_is_rejected(subject: impl Subject) {
    let store = subject.store();
    let result = store.commit(vec![put("a", "1"), put("b", "1"), delete("a")]).await;
    assert!(matches!(&result, Err(StoreError::Invalid(text)) if text.contains("key a twice")), "{result:?}");
    assert_eq!(keys(&*store, b"").await, Vec::<Bytes>::new());
}

pub async fn large_and_empty_values_and_any_bytes_are_kept(subject: impl Subject) {
    let store = subject.store();
    let any: Bytes = (0..=255).collect();
    let large = Bytes::from(vec![0xab; 1024 * 1024]);
    let values = [("any", any.clone()), ("empty", Bytes::new()), ("large", large)];
    commit(&*store, values.iter().map(|(key, value)| put(*key, value.clone())).collect()).await;
    commit(&*store, vec![put(any.clone(), "1")]).await;
    let loaded = load(&*store, b"").await.into_iter().map(|item| (item.key, item.value));
    let expected = values.map(|(key, value)| (Bytes::from(key), value));
    assert!(loaded.eq([(any, Bytes::from("1"))].into_iter().chain(expected)));

    let many = (0..1000).map(|n| put(format!("many/{n}"), "1")).collect();
    let (_, outcomes) = commit(&*store, many).await;
    assert_eq!((outcomes.len(), keys(&*store, b"many/").await.len()), (1000, 1000));
}

pub async fn a_watch_has_each_commit_after_its_revision_once(subject: impl Subject) {
    let store = subject.store();
    let (first, _) = commit(&*store, vec![put("w/a", "1")]).await;
    let (second, _) = commit(&*store, vec![put("w/b", "2"), put("x", "2"), delete("w/a")]).await;
    commit(&*store, vec![put("x", "3")]).await;
    let (fourth, _) = commit(&*store, vec![put("w/b", "4")]).await;
    let of_second = vec![
        Change::Put(item("w/b", "2", second, second)),
        Change::Delete { key: "w/a".into(), revision: second },
    ];
    let of_fourth = vec![Change::Put(item("w/b", "4", fourth, second))];
    let mut watch = store.watch(b"w/", first);
    assert_eq!(next(&mut watch).await, Ok(of_second));
    assert_eq!(next(&mut watch).await, Ok(of_fourth.clone()));
    let mut watch = store.watch(b"w/", second);
    assert_eq!(next(&mut watch).await, Ok(of_fourth));
}

pub async fn a_watch_waits_for_the_next_commit_under_its_prefix(subject: impl Subject) {
    let store = subject.store();
    let revision = store.load(b"").await.unwrap().revision;
    let mut watch = store.watch(b"w/", revision);
    let waiting = tokio::spawn(async move { (next(&mut watch).await, next(&mut watch).await) });
    commit(&*store, vec![put("v", "1")]).await;
    let (second, _) = commit(&*store, vec![put("w/a", "2")]).await;
    let (third, _) = commit(&*store, vec![put("w/a", "3")]).await;
    let second_change = vec![Change::Put(item("w/a", "2", second, second))];
    let third_change = vec![Change::Put(item("w/a", "3", third, second))];
    assert_eq!(waiting.await.unwrap(), (Ok(second_change), Ok(third_change)));
}

pub async fn a_load_and_a_watch_after_it_miss_nothing(subject: impl Subject) {
    const COMMITS: u64 = 40;
    let store = subject.store();
    let writer = async |name: u64| {
        for n in 0..COMMITS {
            let key = format!("k/{}", (name * 7 + n * n) % 5);
            let write = if n % 3 == 2 { delete(key) } else { put(key, format!("{name}.{n}")) };
            commit(&*store, vec![write]).await;
        }
        commit(&*store, vec![put(format!("k/done/{name}"), "")]).await;
    };
    let reader = async || {
        let loaded = store.load(b"k/").await.unwrap();
        let mut entries: BTreeMap<_, _> =
            loaded.items.into_iter().map(|item| (item.key.clone(), item)).collect();
        let mut watch = store.watch(b"k/", loaded.revision);
        let mut latest = loaded.revision;
        while entries.keys().filter(|key| key.starts_with(b"k/done/")).count() < 2 {
            for change in next(&mut watch).await.unwrap() {
                let (key, revision) = match &change {
                    Change::Put(item) => (&item.key, item.revision),
                    Change::Delete { key, revision } => (key, *revision),
                };
                assert!(revision > latest, "{revision} after {latest}");
                latest = revision;
                match &change {
                    Change::Put(item) => drop(entries.insert(key.clone(), item.clone())),
                    Change::Delete { key, .. } => assert!(entries.remove(key).is_some(), "{key:?}"),
                }
            }
        }
        entries
    };
    let readers = join_all((0..4).map(|_| reader()));
    let (entries, ..) = tokio::join!(readers, writer(1), writer(2));
    let stored = load(&*store, b"k/").await;
    for entries in entries {
        assert!(entries.into_values().eq(stored.iter().cloned()));
    }
}

pub async fn increments_by_compare_and_set_are_not_lost(subject: impl Subject) {
    let store = subject.store();
    let increment = |store: Arc<dyn Store>| async move {
        let mut applied = 0;
        while applied < 10 {
            let items = load(&*store, b"n").await;
            let (expected, number) = match &items[..] {
                [] => (Expected::Absent, 0),
                [item] => (Expected::Revision(item.revision), item.value.len()),
                more => panic!("{more:?}"),
            };
            let (_, outcomes) = commit(&*store, vec![when(put("n", vec![1; number + 1]), expected)]).await;
            applied += usize::from(outcomes == [Outcome::Applied]);
        }
    };
    let tasks = (0..4).map(|_| tokio::spawn(increment(store.clone())));
    for task in join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(load(&*store, b"n").await[0].value.len(), 40);
}

pub async fn a_watch_of_changes_that_are_gone_fails_and_ends(subject: impl Subject) {
    let store = subject.store();
    let (first, _) = commit(&*store, vec![put("a", "1")]).await;
    let mut slow = store.watch(b"a", first);
    commit(&*store, vec![put("a", "2")]).await;
    subject.compact().await;
    let mut late = store.watch(b"a", first);
    for watch in [&mut slow, &mut late] {
        assert_eq!(next(watch).await, Err(WatchError::Compacted(first)));
        assert_eq!(watch.next().await, None);
    }
    // A load gives a revision from which a watch works.
    let revision = store.load(b"a").await.unwrap().revision;
    let mut watch = store.watch(b"a", revision);
    let (third, _) = commit(&*store, vec![put("a", "3")]).await;
    assert_eq!(next(&mut watch).await, Ok(vec![Change::Put(item("a", "3", third, first))]));
}

pub async fn entries_and_revisions_go_on_after_it_is_opened_again(mut subject: impl Durable) {
    let store = subject.store();
    let (first, _) = commit(&*store, vec![put("a", "1")]).await;
    let (second, _) = commit(&*store, vec![put("a", "2"), put("b", "2")]).await;
    // Takes a revision, but leaves no entry.
    let (third, _) = commit(&*store, vec![delete("b")]).await;
    drop(store);
    subject.reopen();
    let store = subject.store();
    let loaded = store.load(b"").await.unwrap();
    assert_eq!((loaded.revision, loaded.items), (third, vec![item("a", "2", second, first)]));
    let mut watch = store.watch(b"", third);
    let (fourth, _) = commit(&*store, vec![put("b", "4")]).await;
    assert!(fourth > third);
    assert_eq!(next(&mut watch).await, Ok(vec![Change::Put(item("b", "4", fourth, fourth))]));
}
