//! Data directories that can't be used: the error names the path, the cause and the remedy, and
//! no file has changed. Undamaged data can always be read.

use std::{
    env, fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use headcount::store::{DataDir, DataDirError, verify};
use redb::{Database, TableDefinition};

use super::directory::{FILES, Holder, bytes, contents, filled};

/// Checks that the directory is rejected with this text, by every way to open it, and stays the
/// same.
#[track_caller]
fn rejects(path: &Path, parts: &[&str]) {
    let before = bytes(path);
    for open in [DataDir::open, DataDir::open_existing] {
        let error = open(path).map(drop).expect_err("it can't be used");
        assert!(!error.is_usage(), "{error}");
        has_parts(&error, parts);
    }
    let reports = verify(path).unwrap();
    let errors: Vec<_> = reports.into_iter().filter_map(|report| report.contents.err()).collect();
    assert!(!errors.is_empty());
    has_parts(&errors[0], parts);
    // `assert_eq!` would print megabytes.
    assert!(before == bytes(path), "a file was changed");
}

#[track_caller]
fn has_parts(error: &DataDirError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} has no {part:?}");
    }
    assert!(text.len() < 1_000 && !text.contains('\n'), "{text}");
}

#[test]
fn a_path_that_is_wrong_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let (file, missing) = (directory.path().join("file"), directory.path().join("a/b"));
    fs::write(&file, "text").unwrap();
    let below = file.join("data");
    let full = directory.path();
    let cases = [
        (DataDir::open(&file), "is not a directory; choose another path"),
        (DataDir::open_existing(&file), "is not a directory; choose another path"),
        (DataDir::open(&below), "is not a directory; choose another path"),
        (DataDir::open_existing(&below), "is not a directory; choose another path"),
        (DataDir::open(&missing), "/a; create it"),
        (DataDir::create_new(&missing), "/a; create it"),
        (DataDir::open_existing(&missing), "there is no data directory"),
        (DataDir::create_new(full), "is not empty; choose one that is, or a new one"),
    ];
    for (opened, part) in cases {
        let error = opened.map(drop).expect_err(part);
        assert!(error.is_usage(), "{error}");
        has_parts(&error, &[part, full.to_str().unwrap()]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"text");
    assert!(!missing.exists());
}

#[test]
fn each_path_that_cannot_be_used_has_its_cause_and_remedy() {
    let site = tempfile::tempdir().unwrap();
    let path = |name: &str| site.path().join(name);
    fs::write(path("file"), "text").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    symlink("loop", path("loop")).unwrap();
    symlink("file", path("to_file")).unwrap();
    let long = "n".repeat(300);
    let cases = [
        ("file/", "is not a directory; choose another path"),
        ("to_file", "is not a directory; choose another path"),
        ("socket", "is not a directory; choose another path"),
        ("dangling", "is a symbolic link to nowhere, which does not exist; create that directory"),
        ("dangling/", "is a symbolic link to nowhere, which does not exist; create that directory"),
        ("loop", "a loop of them; choose another path"),
        ("loop/data", "a loop of them; choose another path"),
        (&long, "is too long; choose a shorter one"),
    ];
    for (name, part) in cases {
        let opens = [DataDir::open, DataDir::open_existing, DataDir::create_new];
        let opened = opens.into_iter().map(|open| open(&path(name)).map(drop));
        for result in opened.chain([verify(&path(name)).map(drop)]) {
            let error = result.expect_err(name);
            assert!(error.is_usage(), "{name}: {error}");
            has_parts(&error, &[part, path(name).to_str().unwrap()]);
        }
    }
    // A link to a directory is one.
    fs::create_dir(path("directory")).unwrap();
    symlink("directory", path("to_directory")).unwrap();
    drop(DataDir::open(&path("to_directory")).unwrap());
    assert!(path("directory/lock").exists());
    let in_one_with_a_file = DataDir::create_new(&path("directory")).map(drop).unwrap_err();
    has_parts(&in_one_with_a_file, &["is not empty"]);
}

#[tokio::test]
async fn a_new_directory_is_private_and_an_existing_one_keeps_its_permissions() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (_directory, path) = filled().await;
    let files = [FILES[0], FILES[1], "lock"].map(|file| path.join(file));
    assert_eq!((mode(&path), files.clone().map(|file| mode(&file))), (0o700, [0o600; 3]));

    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    fs::set_permissions(&files[0], fs::Permissions::from_mode(0o664)).unwrap();
    drop(DataDir::open_existing(&path).unwrap());
    assert_eq!(mode(&files[0]), 0o664);
    drop(DataDir::open(&path).unwrap());
    assert_eq!((mode(&path), mode(&files[0])), (0o770, 0o600));
}

#[tokio::test]
async fn an_existing_directory_is_opened_for_reading_only() {
    let (_directory, path) = filled().await;
    let before = bytes(&path);
    let data = DataDir::open_existing(&path).unwrap();
    assert_eq!(contents(&data).await[0].len(), 106);
    let error = data.resources().commit(vec![super::subject::put("a", "1")]).await.unwrap_err();
    assert!(error.to_string().contains("is open for reading only"), "{error}");
    drop(data);
    let reports = verify(&path).unwrap();
    for report in reports {
        let contents = report.contents.unwrap();
        let bytes = fs::metadata(&report.path).unwrap().len();
        assert_eq!((contents.items.len(), contents.revision, contents.bytes), (106, 4, bytes));
    }
    assert!(before == bytes(&path), "a file was changed");
}

#[tokio::test]
async fn an_empty_a_foreign_and_a_swapped_file_are_rejected() {
    let (_directory, path) = filled().await;
    let saved = bytes(&path);
    let restore = || saved.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    for (file, remedy) in
        FILES.into_iter().zip(["or move it away: then dataplanes register again", "restore it from a backup"])
    {
        let file = path.join(file);
        let name = file.to_str().unwrap();
        fs::write(&file, "").unwrap();
        rejects(&path, &[name, "it is empty", "was not changed", remedy]);
        fs::write(&file, "not a database").unwrap();
        rejects(&path, &[name, "it is not a file that headcount has written", remedy]);
        fs::write(&file, vec![0; 100_000]).unwrap();
        rejects(&path, &[name, "it is not a file that headcount has written", remedy]);
        fs::remove_file(&file).unwrap();
        let database = Database::create(&file).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<u64, u64>::new("other")).unwrap();
        transaction.commit().unwrap();
        drop(database);
        rejects(&path, &[name, "it is not a file that headcount has written", remedy]);
        restore();
    }
    let [registrations, resources] = FILES.map(|file| path.join(file));
    fs::copy(&resources, &registrations).unwrap();
    rejects(&path, &["it is a file of \"resources\", not of registrations", "move each file back"]);
    restore();
    fs::remove_file(&registrations).unwrap();
    fs::create_dir(&registrations).unwrap();
    rejects(&path, &["cannot open", "registrations.redb: Is a directory"]);
}

#[tokio::test]
async fn a_directory_that_has_lost_its_resources_is_rejected_and_one_without_registrations_is_not() {
    let (_directory, path) = filled().await;
    let [registrations, resources] = FILES.map(|file| path.join(file));
    fs::rename(&resources, path.join("elsewhere")).unwrap();
    rejects(&path, &["there is no", "resources.redb", "restore it from a backup"]);
    fs::rename(path.join("elsewhere"), &resources).unwrap();

    // As the message about a damaged file says, it can be moved away.
    fs::remove_file(&registrations).unwrap();
    let error = DataDir::open_existing(&path).unwrap_err();
    has_parts(&error, &["there is no", "registrations.redb; check the path"]);
    assert!(!registrations.exists());
    let data = DataDir::open(&path).unwrap();
    assert_eq!(contents(&data).await.map(|items| items.len()), [0, 106]);
}

#[tokio::test]
async fn a_file_that_a_crash_left_half_created_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    drop(DataDir::open(&path).unwrap());
    fs::remove_file(path.join(FILES[0])).unwrap();
    fs::write(path.join("registrations.new"), vec![1; 10_000]).unwrap();
    let data = DataDir::create_new(&path).unwrap_err();
    assert!(data.is_usage());
    let data = DataDir::open(&path).unwrap();
    assert_eq!(contents(&data).await, [vec![], vec![]]);
    assert!(!path.join("registrations.new").exists());
}

#[tokio::test]
async fn a_newer_format_is_rejected_with_both_numbers() {
    let (_directory, path) = filled().await;
    let file = path.join(FILES[1]);
    let original = fs::read(&file).unwrap();
    let database = Database::open(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = TableDefinition::<&str, &[u8]>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", &3_u64.to_be_bytes()[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let remedy = "start the version of headcount that wrote it, or a later one";
    rejects(&path, &["its format is 3, and this version of headcount reads formats up to 2", remedy]);

    // A later version of redb: the first byte of each commit slot.
    fs::write(&file, &original).unwrap();
    let edited = fs::OpenOptions::new().write(true).open(&file).unwrap();
    for slot in [64, 64 + 128] {
        edited.write_all_at(&[4], slot).unwrap();
    }
    rejects(&path, &["its format is 4", "up to 3", remedy]);
    // One of them is damage.
    edited.write_all_at(&[3], 64).unwrap();
    rejects(&path, &["it is damaged", "restore it from a backup"]);
}

#[tokio::test]
async fn a_truncated_file_is_rejected() {
    let (_directory, path) = filled().await;
    for name in FILES {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        for length in [
            1,
            8,
            9,
            100,
            319,
            320,
            4_095,
            4_096,
            4_097,
            whole.len() / 2,
            whole.len() - 4_096,
            whole.len() - 1,
        ] {
            fs::write(&file, &whole[..length]).unwrap();
            rejects(&path, &["cannot open", name, "was not changed"]);
        }
        fs::write(&file, &whole).unwrap();
    }
}

#[tokio::test]
async fn a_changed_byte_is_found_or_changes_nothing() {
    let (_directory, path) = filled().await;
    let file = path.join(FILES[0]);
    let whole = fs::read(&file).unwrap();
    let entries = contents(&DataDir::open_existing(&path).unwrap()).await;
    let (mut rejected, mut harmless) = (0, 0);
    // Every byte of the header that has a meaning, and one of each page.
    let offsets = (0..320).chain((4_096 + 17..whole.len()).step_by(4_096));
    for offset in offsets {
        let mut changed = whole.clone();
        changed[offset] ^= 0x41;
        fs::write(&file, &changed).unwrap();
        match DataDir::open_existing(&path) {
            Ok(data) => {
                assert_eq!(contents(&data).await, entries, "byte {offset}");
                harmless += 1;
            }
            Err(error) => {
                has_parts(&error, &["cannot open", FILES[0], "was not changed"]);
                let error = DataDir::open(&path).map(drop).expect_err("rejected before");
                has_parts(&error, &["cannot open"]);
                rejected += 1;
            }
        }
        assert!(fs::read(&file).unwrap() == changed, "byte {offset}: the file was changed");
    }
    // Pages that are not in use, and copies of the previous commit, are not read.
    assert!(rejected > 50 && harmless > 50, "{rejected} rejected, {harmless} harmless");
}

#[tokio::test]
async fn a_copy_of_a_file_in_use_is_as_after_a_crash() {
    let (_directory, path) = filled().await;
    let data = DataDir::open(&path).unwrap();
    let written = contents(&data).await;
    let copy = tempfile::tempdir().unwrap();
    for file in FILES {
        fs::copy(path.join(file), copy.path().join(file)).unwrap();
    }
    let before = bytes(copy.path());
    assert_eq!(contents(&DataDir::open_existing(copy.path()).unwrap()).await, written);
    assert!(before == bytes(copy.path()), "a file was changed");
    assert_eq!(contents(&DataDir::open(copy.path()).unwrap()).await, written);
}

/// Root may do anything, so the directory is then opened by a process of the user nobody.
#[tokio::test]
async fn missing_permissions_are_an_error_with_a_remedy() {
    let (directory, path) = filled().await;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let executable = directory.path().join("test");
    fs::copy(env::current_exe().unwrap(), &executable).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let error = |path: &Path| {
        Holder::start(path, &executable, is_root.then_some(65_534)).opened().expect_err("no permission")
    };
    let remedy = "Permission denied (os error 13); run headcount as the owner of its files";

    let new = directory.path().join("new");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(error(&new), format!("cannot create {}: {remedy}", new.display()));
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();

    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let text = error(&path);
    assert!(text.starts_with("cannot open") && text.ends_with(remedy), "{text}");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let lock = path.join("lock");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o666)).unwrap();
    let resources = path.join(FILES[1]);
    fs::set_permissions(&resources, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(error(&path), format!("cannot open {}: {remedy}", resources.display()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}
