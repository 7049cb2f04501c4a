//! `headcount backup`, `restore` and `store verify`: each writes all that it should, or nothing.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use prost::Message as _;
use tempfile::TempDir;
use tonic::Status;

use super::{Ended, Outcome, run, run_with, scripted_server::ScriptedServer};
use crate::{
    proto::{
        CreateBackupResponse,
        store::{Registration, Revisions, Workload},
    },
    store::{
        DataDir, Item,
        backup::{Encoder, Place, REVISION_STEP},
    },
};

const DATAPLANE: &str = "dataplanes/default/shop/web-1";

fn entry(key: &str, value: Vec<u8>) -> (&str, Vec<u8>) {
    (key, value)
}

fn backup(registrations: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(UNIX_EPOCH, &mut out);
    let mut add = |place, key: &str, value: &[u8]| {
        let (key, value) = (key.to_owned().into(), value.to_vec().into());
        encoder.entry(place, &Item { key, value, revision: 1, created: 1 }, &mut out).unwrap();
    };
    add(Place::Resources, "server/revisions", &Revisions { reserved: 7 }.encode_to_vec());
    for (key, value) in registrations {
        add(Place::Registrations, key, value);
    }
    encoder.finish(&mut out);
    out
}

fn usual() -> Vec<u8> {
    let since = Some(UNIX_EPOCH.into());
    let labels = [("kuma.io/workload".to_owned(), "web".to_owned())].into();
    let registration = Registration { since, labels, ..Registration::default() };
    let workload = Workload { mesh: "default".into(), uid: vec![7; 16], creation_time: since };
    backup(&[
        entry(DATAPLANE, registration.encode_to_vec()),
        entry("workloads/shop/web", workload.encode_to_vec()),
    ])
}

fn site() -> (TempDir, impl Fn(&str) -> String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    (directory, move |name: &str| path.join(name).display().to_string())
}

/// The names in a directory.
fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The entries of a backup, without its first and last line.
fn body(backup: &[u8]) -> String {
    let lines: Vec<_> = str::from_utf8(backup).unwrap().lines().collect();
    lines[1..lines.len() - 1].join("\n")
}

fn chunks(backup: &[u8]) -> Vec<Result<CreateBackupResponse, Status>> {
    backup.chunks(100).map(|chunk| Ok(CreateBackupResponse { chunk: chunk.to_vec().into() })).collect()
}

async fn back_up(messages: Vec<Result<CreateBackupResponse, Status>>, flags: &str) -> Ended {
    let server = Arc::new(ScriptedServer::default());
    server.backup.push(Ok(messages));
    run_with(&server, &format!("backup {flags}")).await
}

#[tokio::test]
async fn a_backup_can_be_restored_verified_and_made_again() {
    let (site, path) = site();
    fs::write(path("a"), usual()).unwrap();
    let restored = run(&format!("restore --data-dir {} {}", path("data"), path("a"))).await;
    assert_eq!(restored.result.unwrap(), Outcome::Success);
    assert_eq!(restored.out, format!("{}: 3 entries of the backup of 1970-01-01T00:00:00Z\n", path("data")));
    assert_eq!(names(&site), ["a", "data"]);
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("data"), mode("data/registrations.redb"), mode("data/resources.redb")),
        (0o700, 0o600, 0o600)
    );

    let verified = run(&format!("store verify --data-dir {}", path("data"))).await;
    assert_eq!(verified.result.unwrap(), Outcome::Success, "{}", verified.out);
    for part in [
        "resources.redb: 1 other records, ",
        "registrations.redb: 1 dataplanes, 1 workloads, ",
        "\nno problems\n",
    ] {
        assert!(verified.out.contains(part), "{part}: {}", verified.out);
    }

    let again = run(&format!("backup --data-dir {} --output {}", path("data"), path("b"))).await;
    assert_eq!(again.result.unwrap(), Outcome::Success);
    assert_eq!(mode("b"), 0o600);
    let expected = body(&usual()).replace("CAc=", "");
    let reserved = Revisions { reserved: 7 + REVISION_STEP }.encode_to_vec();
    let found = body(&fs::read(path("b")).unwrap());
    assert_eq!(found.replace(&BASE64_STANDARD.encode(reserved), ""), expected);
    let bytes = fs::metadata(path("b")).unwrap().len();
    assert_eq!(again.err, format!("{}: 3 entries, {bytes} bytes\n", path("b")));
}

#[tokio::test]
async fn a_server_s_backup_becomes_a_file_only_if_it_is_right() {
    let (site, path) = site();
    let output = format!("--output {}", path("backup"));
    let mut altered = usual();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let mut broken = chunks(&usual());
    broken[2] = Err(Status::internal("cannot read /data/registrations.redb"));
    for (messages, problem) in [
        (chunks(&altered), "is not right"),
        (chunks(&usual()[..300]), "the backup is truncated"),
        (broken, "cannot read /data/registrations.redb"),
        (vec![Err(Status::failed_precondition("the server has no data directory"))], "has no data directory"),
    ] {
        let failure = back_up(messages, &output).await.failure();
        assert!(failure.contains(problem), "{failure}");
        assert_eq!(names(&site), [""; 0], "{problem}");
    }
    back_up(chunks(&usual()), &output).await.result.unwrap();
    assert_eq!(fs::read(path("backup")).unwrap(), usual());
    let printed = back_up(chunks(&usual()), "--output -").await;
    assert_eq!(printed.out.as_bytes(), usual());
}

#[tokio::test]
async fn an_existing_file_is_replaced_only_with_force() {
    let (site, path) = site();
    fs::write(path("backup"), "precious").unwrap();
    let output = format!("--output {}", path("backup"));
    let failure = back_up(chunks(&usual()), &output).await.failure();
    assert!(failure.contains("--force"), "{failure}");
    assert_eq!(fs::read(path("backup")).unwrap(), b"precious");
    back_up(chunks(&usual()), &format!("{output} --force")).await.result.unwrap();
    assert_eq!(fs::read(path("backup")).unwrap(), usual());
    assert_eq!(names(&site), ["backup"]);
}

#[tokio::test]
async fn a_backup_of_a_directory_in_use_names_the_way_to_the_server() {
    let (site, path) = site();
    let _in_use = DataDir::create_new(&site.path().join("data")).unwrap();
    let failure = run(&format!("backup --data-dir {} --output {}", path("data"), path("b"))).await.failure();
    for part in ["in use", &path("data"), "headcount backup --server"] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
    assert_eq!(names(&site), ["data"]);
    let failure = run(&format!("store verify --data-dir {}", path("data"))).await.failure();
    assert!(failure.contains("in use"), "{failure}");
}

#[tokio::test]
async fn nothing_is_restored_from_a_damaged_file_or_to_a_directory_in_use() {
    let (site, path) = site();
    fs::create_dir(path("empty")).unwrap();
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/file"), "").unwrap();
    let mut altered = usual();
    altered[200] ^= 1;
    fs::write(path("altered"), altered).unwrap();
    fs::write(path("truncated"), &usual()[..300]).unwrap();
    fs::write(path("usual"), usual()).unwrap();
    let before = names(&site);
    for (directory, file, problem, code) in [
        ("new", "altered", "altered: line ", 2),
        ("empty", "truncated", "line 4: the backup is truncated", 2),
        ("new", "missing", "missing: No such file or directory (os error 2); check the path", 64),
        ("full", "usual", "full is not empty; choose one", 64),
        ("usual", "usual", "usual is not a directory; choose another path", 64),
        ("new/new", "usual", "new; create it", 64),
    ] {
        let ended = run(&format!("restore --data-dir {} {}", path(directory), path(file))).await;
        let failure = ended.result.unwrap_err();
        assert!(failure.to_string().contains(problem), "{failure}");
        assert_eq!(failure.exit_code(), code, "{failure}");
        assert_eq!(names(&site), before, "{failure}");
        assert_eq!(fs::read_dir(path("empty")).unwrap().count(), 0);
    }
    run(&format!("restore --data-dir {} {}", path("empty"), path("usual"))).await.result.unwrap();
    assert!(Path::new(&path("empty/resources.redb")).exists());
}

#[tokio::test]
async fn verify_lists_records_that_can_t_be_read_and_files_that_are_damaged() {
    let (_site, path) = site();
    let records = [
        entry("dataplanes/default/shop", Vec::new()),
        entry("dataplanes/default/shop/web-1", vec![0xff]),
        entry("dataplanes/default/shop/web-2", Vec::new()),
        entry("secrets/\u{1b}", Vec::new()),
    ];
    fs::write(path("backup"), backup(&records)).unwrap();
    run(&format!("restore --data-dir {} {}", path("data"), path("backup"))).await.result.unwrap();
    let verified = run(&format!("store verify --data-dir {}", path("data"))).await;
    assert_eq!(verified.result.unwrap(), Outcome::Negative);
    for part in [
        "the record dataplanes/default/shop is of a kind",
        "the record dataplanes/default/shop/web-1 can't be decoded",
        "the record dataplanes/default/shop/web-2 is invalid: ",
        r"the record secrets/\x1b is of a kind",
    ] {
        assert!(verified.out.contains(part), "{part}: {}", verified.out);
    }
    assert!(!verified.out.contains("no problems"));

    let file = path("data/registrations.redb");
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, &bytes).unwrap();
    let verified = run(&format!("store verify --data-dir {}", path("data"))).await;
    assert_eq!(verified.result.unwrap(), Outcome::Negative);
    assert!(verified.out.contains(&format!("problem: cannot open {file}")), "{}", verified.out);
    assert!(verified.out.contains("resources.redb: 1 other records"), "{}", verified.out);
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[tokio::test]
async fn a_data_directory_and_a_server_are_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data-dir {0} --output {0}/b", directory.path().display());
    for (flags, other) in [("--server a", "--server"), ("--context prod", "--context")] {
        let ended = run(&format!("backup {data} {flags}")).await;
        assert!(matches!(ended.result, Err(crate::cli::Failure::Usage(_))));
        let report = ended.failure();
        assert!(report.contains(&format!("--data-dir: can't be combined with {other}")), "{report}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is written");
}
