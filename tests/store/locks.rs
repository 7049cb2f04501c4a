//! Two users of one data directory.

use std::process;

use headcount::store::{DataDir, verify};

use super::{directory::Holder, subject::put};

#[tokio::test]
async fn a_directory_has_one_user_until_its_stores_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let data = DataDir::open(&path).unwrap();
    let expected = format!(
        "the data directory {} is in use by process {}; stop that process, or choose another directory",
        path.display(),
        process::id()
    );
    let errors = || {
        let opened = [DataDir::open(&path), DataDir::open_existing(&path)];
        opened
            .into_iter()
            .map(|opened| opened.map(drop).unwrap_err())
            .chain([verify(&path).map(drop).unwrap_err()])
    };
    for error in errors() {
        assert_eq!((error.to_string(), error.is_usage()), (expected.clone(), false));
    }
    let store = data.resources();
    drop(data);
    for error in errors() {
        assert_eq!(error.to_string(), expected);
    }
    store.commit(vec![put("a", "1")]).await.unwrap();
    drop(store);
    let data = DataDir::open(&path).unwrap();
    assert_eq!(data.resources().load(b"").await.unwrap().items.len(), 1);
}

#[test]
fn another_process_is_named_and_its_lock_ends_when_it_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let mut holder = Holder::here(&path);
    holder.opened().unwrap();
    let error = DataDir::open(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("in use by process {};", holder.id())), "{error}");
    holder.kill();
    DataDir::open(&path).unwrap();
}
