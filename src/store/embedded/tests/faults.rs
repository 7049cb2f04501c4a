//! Errors of the disk while a store is in use, and when it is opened.

use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::block_in_place;

use super::{Fault, SimulatedDisk, commit, load, new_disk, open, put};
use crate::store::{
    Change, Store as _, StoreError,
    embedded::{Access, EmbeddedStore, Kind, OpenError, create},
    problem,
};

/// The values in the order of their keys.
fn values(store: &EmbeddedStore) -> String {
    let items = load(store).unwrap().items;
    items.iter().map(|item| String::from_utf8_lossy(&item.value)).collect::<Vec<_>>().join(" ")
}

fn filled(disk: &SimulatedDisk) -> EmbeddedStore {
    let store = open(disk).unwrap();
    commit(&store, vec![put("a", "1"), put("b", "1")]).unwrap();
    store
}

#[test]
fn a_full_disk_fails_commits_until_there_is_space() {
    let disk = new_disk(0);
    let store = filled(&disk);
    let mut watch = store.watch(b"", 1);
    disk.fail(Fault::Full, 0);
    for _ in 0..3 {
        let error = commit(&store, vec![put("a", "2")]).unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable(_) | StoreError::Unknown(_)));
        let expected = "resources.redb: no storage space; free some space on its file system";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    disk.heal();
    assert_eq!(values(&store), "1 1");
    assert_eq!(watch.next().now_or_never(), None);
    let committed = commit(&store, vec![put("a", "3")]).unwrap();
    assert_eq!(committed.revision, 2);
    let changes = watch.next().now_or_never().unwrap().unwrap().unwrap();
    assert!(matches!(&changes[..], [Change::Put(item)] if item.value == "3"), "{changes:?}");
    assert_eq!(values(&store), "3 1");
}

/// The disk fails at every point of a commit in turn, for this commit only or until later.
#[test]
fn the_outcome_of_a_commit_that_failed_is_known_when_the_disk_works_again() {
    let (mut failures, mut unknown_outcomes, mut applied) = (0, 0, 0);
    for after in 0.. {
        let disk = new_disk(after);
        let store = filled(&disk);
        let mut watch = store.watch(b"", 1);
        disk.fail(Fault::Off, after);
        let result = commit(&store, vec![put("a", "2"), put("c", "2")]);
        let failed = disk.is_failing();
        disk.heal();
        let values = values(&store);
        match (&result, &*values) {
            (Ok(committed), "2 1 2") => assert_eq!(committed.revision, 2),
            (Err(StoreError::Unavailable(_) | StoreError::Unknown(_)), "1 1") => {}
            (Err(StoreError::Unknown(_)), "2 1 2") => applied += 1,
            other => panic!("{other:?} after {after} operations"),
        }
        failures += usize::from(result.is_err());
        unknown_outcomes += usize::from(matches!(result, Err(StoreError::Unknown(_))));
        let (was_applied, revision) = (values.len() == 5, load(&store).unwrap().revision);
        assert_eq!(revision, if was_applied { 2 } else { 1 });
        // Watches have the commit if and only if it was applied.
        assert_eq!(watch.next().now_or_never().is_some(), was_applied);
        assert_eq!(commit(&store, vec![put("d", "3")]).unwrap().revision, revision + 1);
        let changes = watch.next().now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(changes[0].key(), "d");
        if !failed {
            break;
        }
    }
    assert!(failures > 3 && unknown_outcomes > 0 && applied > 0, "{failures} {unknown_outcomes} {applied}");
}

#[test]
fn a_disk_that_fails_once_or_twice_during_a_commit_costs_nothing_but_this_commit() {
    for seed in 0..200 {
        let disk = new_disk(seed);
        let store = filled(&disk);
        disk.set_failing_syncs(50);
        let mut revision = 1;
        for n in 0..10 {
            match commit(&store, vec![put("a", format!("{n}"))]) {
                Ok(committed) => revision = committed.revision,
                Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        disk.set_failing_syncs(0);
        let loaded = load(&store).unwrap();
        assert!(loaded.revision >= revision, "seed {seed}");
        drop(store);
        assert_eq!(load(&open(&disk).unwrap()).unwrap(), loaded);
    }
}

#[test]
fn damage_is_reported_as_such_when_it_is_found_and_from_then_on() {
    let disk = new_disk(0);
    let store = filled(&disk);
    // Every page, but not the header: the next commit would not read the file at all, so the
    // error of an operation leads to the check.
    let pages = vec![0x55; disk.bytes().len() - 4_096];
    disk.overwrite(4_096, &pages);
    let damaged = disk.bytes();
    disk.fail(Fault::Off, 0);
    assert!(matches!(commit(&store, vec![put("a", "2")]), Err(StoreError::Unavailable(_))));
    disk.heal();
    for _ in 0..2 {
        let error = commit(&store, vec![put("a", "3")]).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("cannot open resources.redb: it is damaged: "), "{text}");
        assert!(text.ends_with("The file was not changed; restore it from a backup"), "{text}");
        assert_eq!(load(&store).unwrap_err(), error);
    }
    drop(store);
    assert!(damaged == disk.bytes(), "the file was changed");
}

#[test]
fn a_commit_to_a_removed_file_fails_and_writes_nothing_until_the_file_is_back() {
    let disk = new_disk(0);
    let store = filled(&disk);
    let operations = disk.operations();
    disk.set_removed(true);
    let error = commit(&store, vec![put("a", "2")]).unwrap_err();
    let expected = "cannot write resources.redb: it was removed";
    assert_eq!(error, StoreError::Unavailable(expected.to_owned()));
    assert_eq!(disk.operations(), operations);
    // What was stored can be saved by a backup.
    assert_eq!(values(&store), "1 1");
    disk.set_removed(false);
    assert_eq!(commit(&store, vec![put("a", "3")]).unwrap().revision, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_removed_during_a_commit_makes_its_outcome_unknown() {
    let disk = new_disk(0);
    let store = Arc::new(open(&disk).unwrap());
    let mut watch = store.watch(b"", 0);
    let gate = disk.stop_next_sync();
    let commit = tokio::spawn({
        let store = store.clone();
        async move { store.commit(vec![put("a", "2")]).await }
    });
    block_in_place(|| gate.wait());
    disk.set_removed(true);
    block_in_place(|| gate.wait());
    let error = commit.await.unwrap().unwrap_err();
    assert!(matches!(&error, StoreError::Unknown(text) if text.ends_with("it was removed")), "{error:?}");
    // It is in the file that may come back, and in the watch.
    disk.set_removed(false);
    assert_eq!(watch.next().await.unwrap().unwrap()[0].key(), "a");
    assert_eq!(store.commit(vec![put("b", "2")]).await.unwrap().revision, 2);
}

#[test]
fn a_panic_of_the_database_is_an_error_that_ends() {
    let disk = new_disk(0);
    drop(filled(&disk));
    let before = disk.bytes();
    disk.fail(Fault::PanickingReads, 0);
    let error = open(&disk).unwrap_err();
    assert_eq!(error.to_string(), "it is damaged: simulated panic");
    assert!(before == disk.bytes(), "the file was changed");
    disk.heal();
    assert_eq!(values(&open(&disk).unwrap()), "1 1");
}

#[test]
fn a_disk_that_is_full_or_fails_when_a_file_is_opened_leaves_it_as_after_a_crash() {
    for fault in [Fault::Full, Fault::Off] {
        for after in 0.. {
            let disk = new_disk(0);
            drop(filled(&disk));
            disk.fail(fault, after);
            let opened = open(&disk);
            let failed = disk.is_failing();
            match opened {
                Err(error @ OpenError::Io(_)) => {
                    let text = problem::of_file("resources.redb", &error, Kind::Resources);
                    let remedy = "resources.redb: no storage space; free some space on its file system";
                    assert!(fault != Fault::Full || text.ends_with(remedy), "{text}");
                }
                Err(error) => panic!("{error}"),
                Ok(store) => drop(store),
            }
            disk.crash();
            assert_eq!(values(&open(&disk).unwrap()), "1 1", "{fault:?} after {after} operations");
            if !failed {
                break;
            }
        }
    }
}

#[test]
fn a_file_is_not_created_on_a_full_disk() {
    let disk = SimulatedDisk::new(0);
    create(disk.storage(), Kind::Resources).unwrap();
    for after in 0..disk.operations() {
        let disk = SimulatedDisk::new(0);
        disk.fail(Fault::Full, after);
        match create(disk.storage(), Kind::Resources) {
            Err(OpenError::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::StorageFull),
            other => panic!("{other:?} after {after} operations"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_caller_is_gone_delays_the_next_one() {
    let disk = new_disk(0);
    let store = Arc::new(open(&disk).unwrap());
    let mut watch = store.watch(b"", 0);
    let gate = disk.stop_next_sync();
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.commit(vec![put("first", "1")]).await }
    });
    block_in_place(|| gate.wait());
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // The next one begins when it has this.
    let waits = store.turn.try_lock().is_err();
    block_in_place(|| gate.wait());
    assert!(waits);
    assert_eq!(store.commit(vec![put("second", "1")]).await.unwrap().revision, 2);
    for key in ["first", "second"] {
        assert_eq!(watch.next().await.unwrap().unwrap()[0].key(), key);
    }
}

#[test]
fn a_store_that_was_opened_for_reading_changes_nothing() {
    let disk = new_disk(0);
    drop(filled(&disk));
    let (before, operations) = (disk.bytes(), disk.operations());
    let storage = Box::new(disk.clone());
    let (store, _) =
        EmbeddedStore::open("resources.redb".to_owned(), storage, Kind::Resources, Access::Read).unwrap();
    assert_eq!(values(&store), "1 1");
    assert!(matches!(commit(&store, vec![put("a", "2")]), Err(StoreError::Invalid(_))));
    drop(store);
    assert!(before == disk.bytes() && operations == disk.operations());
}
