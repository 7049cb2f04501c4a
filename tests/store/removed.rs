//! Files that are removed or replaced while a process has them open: no commit succeeds that a later
//! start would not find, and what was only moved away can come back.

use std::{fs, path::Path};

use headcount::store::{DataDir, StoreError, Stores};

use super::{
    directory::{FILES, filled},
    subject::put,
};

/// Checks that one of the stores has this error, when it is checked and when it is written.
async fn fails(stores: &Stores, file: &str, parts: &[&str]) {
    let store = if file == FILES[0] { &stores.registrations } else { &stores.resources };
    for error in [store.check().await.err(), store.commit(vec![put("a", "2")]).await.err()] {
        let Some(StoreError::Unavailable(text)) = &error else { panic!("{file}: {error:?}") };
        for part in parts {
            assert!(text.contains(part), "{text:?} has no {part:?}");
        }
    }
}

async fn works(stores: &Stores) {
    for store in [&stores.registrations, &stores.resources] {
        store.check().await.unwrap();
        store.commit(vec![put("a", "1")]).await.unwrap();
    }
}

/// Makes a change, checks that the stores fail, undoes it, and checks that they work.
async fn fails_until_undone(name: &str, change: impl Fn(&Path, &Path), failing: &[&str]) {
    let (_directory, path) = filled().await;
    let data = DataDir::open(&path).unwrap();
    let stores = data.stores();
    works(&stores).await;
    let original = path.with_extension("original");
    change(&path, &original);
    for file in failing {
        let file_path = path.join(file);
        fails(&stores, file, &[file_path.to_str().unwrap(), "was removed or replaced", "move", "restart"])
            .await;
    }
    // Whatever is there now.
    let _ = fs::remove_dir_all(&path);
    let _ = fs::remove_file(&path);
    fs::rename(&original, &path).unwrap();
    works(&stores).await;
    drop((data, stores));
    let data = DataDir::open(&path).unwrap();
    assert!(data.registrations().load(b"a").await.unwrap().items.len() == 1, "{name}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_is_moved_away_fails_until_it_is_back() {
    let away = |path: &Path, original: &Path| fs::rename(path, original).unwrap();
    fails_until_undone("moved away", away, &FILES).await;
    let replace_by_copy = |path: &Path, original: &Path| {
        fs::rename(path, original).unwrap();
        copy(original, path);
    };
    fails_until_undone("replaced by a copy", replace_by_copy, &FILES).await;
    let replace_by_file = |path: &Path, original: &Path| {
        fs::rename(path, original).unwrap();
        fs::write(path, "text").unwrap();
    };
    fails_until_undone("replaced by a file", replace_by_file, &FILES).await;
    let another_server = |path: &Path, original: &Path| {
        fs::rename(path, original).unwrap();
        drop(DataDir::open(path).unwrap());
    };
    fails_until_undone("another server has started there", another_server, &FILES).await;
}

#[tokio::test]
async fn a_file_that_is_removed_or_replaced_fails_its_store_and_a_lock_fails_both() {
    for name in [FILES[0], FILES[1], "lock"] {
        for replaced in [false, true] {
            let (_directory, path) = filled().await;
            let data = DataDir::open(&path).unwrap();
            let stores = data.stores();
            let (file, original) = (path.join(name), path.join("original"));
            fs::rename(&file, &original).unwrap();
            if replaced {
                fs::copy(&original, &file).unwrap();
            }
            for failing in FILES.into_iter().filter(|failing| name == "lock" || *failing == name) {
                let what = if name == "lock" { "lock of its directory was" } else { "it was" };
                fails(&stores, failing, &[what, "removed or replaced"]).await;
            }
            fs::rename(&original, &file).unwrap();
            works(&stores).await;
        }
    }
}

#[tokio::test]
async fn what_was_removed_can_still_be_read() {
    let (_directory, path) = filled().await;
    let data = DataDir::open(&path).unwrap();
    let before = data.registrations().load(b"").await.unwrap();
    fs::remove_dir_all(&path).unwrap();
    fails(&data.stores(), FILES[0], &["was removed or replaced"]).await;
    assert_eq!(data.registrations().load(b"").await.unwrap(), before);
}
