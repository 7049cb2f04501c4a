//! Backups of arbitrary stores, whole and damaged.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::{Duration, UNIX_EPOCH},
};

use futures_util::FutureExt as _;
use proptest::{collection::btree_map, prelude::*};
use prost::Message as _;

use super::{chunks::CHUNK_BYTES, *};
use crate::{
    proto::store::Revisions,
    store::{Expected, Item, MemoryStore, Store as _, Stores, Write, key},
};

/// The entries of a store.
type Entries = BTreeMap<String, Vec<u8>>;

fn stores(resources: &Entries, registrations: &Entries) -> (Stores, [Arc<MemoryStore>; 2]) {
    let [resources, registrations] = [resources, registrations].map(|entries| {
        let store = MemoryStore::new();
        let write = |(key, value): (&String, &Vec<u8>)| Write {
            key: key.clone().into(),
            expected: Expected::Absent,
            value: Some(value.clone().into()),
        };
        store.commit(entries.iter().map(write).collect()).now_or_never().unwrap().unwrap();
        Arc::new(store)
    });
    let memory = [resources.clone(), registrations.clone()];
    (Stores { registrations, resources }, memory)
}

fn entries_of(store: &MemoryStore) -> Entries {
    let items = store.load(b"").now_or_never().unwrap().unwrap().items;
    let entry = |Item { key, value, .. }: Item| (String::from_utf8(key.into()).unwrap(), value.into());
    items.into_iter().map(entry).collect()
}

/// The backup of these stores, whose chunks must not be too large.
fn backup_of(stores: &Stores) -> Vec<u8> {
    let mut chunks = Chunks::new(stores, UNIX_EPOCH + Duration::from_secs(1_767_323_045));
    let mut backup = Vec::new();
    while let Some(chunk) = chunks.next().now_or_never().unwrap().unwrap() {
        assert!((1..=CHUNK_BYTES).contains(&chunk.len()));
        backup.extend_from_slice(&chunk);
    }
    backup
}

fn read(backup: &[u8]) -> Result<Summary, BackupError> {
    Reader::new(backup).read_all(drop)
}

fn entries() -> impl Strategy<Value = Entries> {
    btree_map("[a-z/\u{0}\n\"ü]{0,12}", prop::collection::vec(any::<u8>(), 0..200), 0..40)
}

/// The lines of a small backup.
static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let revisions = Revisions { reserved: 5 }.encode_to_vec();
    let resources = [("server/revisions".to_owned(), revisions), ("keys/\"1\"".to_owned(), vec![255, 0])];
    let registrations = [("workloads/shop/web".to_owned(), b"web".to_vec())];
    backup_of(&stores(&resources.into(), &registrations.into()).0)
});

fn lines(backup: &[u8]) -> Vec<String> {
    str::from_utf8(backup).unwrap().split_inclusive('\n').map(str::to_owned).collect()
}

/// A backup of these lines, with a right trailer.
fn sealed(lines: &[&str]) -> Vec<u8> {
    let mut backup = lines.concat().into_bytes();
    let digest = ring::digest::digest(&ring::digest::SHA256, &backup);
    let trailer = encode::trailer(lines.len() as u64 - 1, &digest);
    encode::write_line(&line::Line::Trailer(trailer), &mut backup);
    backup
}

proptest! {
    #[test]
    fn restoring_a_backup_yields_the_same_entries(resources in entries(), registrations in entries()) {
        let (from, _) = stores(&resources, &registrations);
        let (to, [restored_resources, restored_registrations]) = stores(&Entries::new(), &Entries::new());
        let backup = backup_of(&from);
        let summary = restore(Reader::new(&*backup), &to).now_or_never().unwrap().unwrap();
        prop_assert_eq!(summary.entries, (resources.len() + registrations.len()) as u64);
        prop_assert_eq!(summary.bytes, backup.len() as u64);
        prop_assert_eq!(entries_of(&restored_resources), resources);
        prop_assert_eq!(entries_of(&restored_registrations), registrations);
    }

    #[test]
    fn a_reader_of_chunks_finds_what_a_reader_of_a_file_finds(
        at in 0_usize..10_000, byte in any::<u8>(), sizes in prop::collection::vec(1_usize..60, 1..20),
    ) {
        let mut backup = SMALL.clone();
        // Also the backup as it is.
        if let Some(changed) = backup.get_mut(at) {
            *changed = byte;
        }
        let mut check = Check::default();
        let mut rest = &*backup;
        let mut sizes = sizes.into_iter().cycle();
        let pushed = loop {
            let (chunk, more) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            match check.push(chunk) {
                Ok(()) if more.is_empty() => break check.end(),
                Ok(()) => rest = more,
                Err(error) => break Err(error),
            }
        };
        let text = |result: Result<Summary, BackupError>| result.map_err(|error| error.to_string());
        prop_assert_eq!(text(pushed), text(read(&backup)));
    }
}

#[test]
fn a_backup_is_lines_of_json() {
    let expected = r#"{"header":{"format":"headcount-backup","version":1,"server":"VERSION","created":"2026-01-02T03:04:05Z"}}
{"entry":{"store":"resources","key":"keys/\"1\"","value":"/wA="}}
{"entry":{"store":"resources","key":"server/revisions","value":"CAU="}}
{"entry":{"store":"registrations","key":"workloads/shop/web","value":"d2Vi"}}
{"trailer":{"entries":3,"sha256":""#;
    let expected = expected.replace("VERSION", env!("CARGO_PKG_VERSION"));
    let backup = str::from_utf8(&SMALL).unwrap();
    assert!(backup.starts_with(&expected), "{backup}");
    let summary = read(&SMALL).unwrap();
    assert_eq!((summary.entries, summary.bytes), (3, SMALL.len() as u64));
    assert_eq!(summary.header.server, env!("CARGO_PKG_VERSION"));
}

#[test]
fn no_byte_can_be_changed_removed_or_added() {
    for at in 0..SMALL.len() {
        for flip in [1, 0x20, 0x80] {
            let mut changed = SMALL.clone();
            changed[at] ^= flip;
            read(&changed).expect_err(&format!("byte {at} is changed by {flip}"));
        }
        let mut shorter = SMALL.clone();
        shorter.remove(at);
        read(&shorter).expect_err(&format!("byte {at} is removed"));
        let mut longer = SMALL.clone();
        longer.insert(at, b' ');
        read(&longer).expect_err(&format!("a blank is added before byte {at}"));
        assert!(read(&SMALL[..at]).is_err(), "the first {at} bytes");
    }
}

#[test]
fn errors_say_what_is_wrong_with_which_line() {
    let own = lines(&SMALL);
    let [header, keys, revisions, web, trailer] = &own[..] else { panic!("{own:?}") };
    let newer = header.replace("\"version\":1", "\"version\":2,\"compression\":\"zstd\"");
    let other = header.replace("headcount-backup", "another-backup");
    let no_base64 = web.replace("d2Vi", "d2V");
    let unknown = web.replace("registrations", "events");
    let long = format!("{}\n", "x".repeat(MAX_LINE));
    let found = [
        (String::new(), "line 1: this is not a backup"),
        ("PK\u{3}\u{4}\n".into(), "line 1: this is not a backup"),
        (other, "line 1: this is not a backup"),
        (newer + "{}\n", "line 1: the backup has format 2, and this version reads up to format 1"),
        (header.clone(), "line 2: the backup is truncated"),
        ([header, keys, revisions, web].map(String::as_str).concat(), "line 5: the backup is truncated"),
        ([header, &keys[..9]].concat(), "line 2: the backup is truncated"),
        ([header.as_str(), &long].concat(), "line 2: the backup was altered: the line has more than 16 MiB"),
        ([header.as_str(), header].concat(), "line 2: the backup was altered: it has a second header"),
        ([header.as_str(), "\n"].concat(), "line 2: the backup was altered: this is no entry"),
        ([header.as_str(), &no_base64].concat(), "line 2: the backup was altered: the value is not base64"),
        ([header.as_str(), &unknown].concat(), "line 2: the backup was altered: this is no entry"),
        (
            [header, revisions, keys].map(String::as_str).concat(),
            "line 3: the backup was altered: the entry is not in the order",
        ),
        (
            [header, web, web].map(String::as_str).concat(),
            "line 3: the backup was altered: the entry is not in the order",
        ),
        (
            [header, keys, trailer].map(String::as_str).concat(),
            "line 3: the backup was altered: the trailer states 3 entries, but there are 1",
        ),
        (
            [header, keys, revisions, &web.replace("d2Vi", "d2Vj"), trailer].map(String::as_str).concat(),
            "line 5: the backup was altered: the checksum differs",
        ),
        (
            [header, keys, revisions, web, trailer, web].map(String::as_str).concat(),
            "line 6: the backup was altered: there is text after the trailer",
        ),
        (
            [header, keys, revisions, web, trailer, "x"].concat(),
            "line 6: the backup was altered: there is text after the trailer",
        ),
    ];
    for (backup, expected) in found {
        let error = read(backup.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_header_of_this_format_may_have_more_fields() {
    let header = lines(&SMALL)[0].replace("\"version\":1", "\"version\":1,\"name\":\"prod\"");
    assert_eq!(read(&sealed(&[&header])).unwrap().entries, 0);
}

#[test]
fn an_entry_that_is_not_text_or_too_large_is_an_error_that_names_it() {
    let item = |key: &'static [u8], size| Item {
        key: key.into(),
        value: vec![0; size].into(),
        revision: 1,
        created: 1,
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(UNIX_EPOCH, &mut out);
    let length = out.len();
    for (item, expected) in [
        (item(b"a\xff", 1), r"line 2: the entry a\xff can't be written to a backup: its key is not UTF-8"),
        (item(b"a", MAX_LINE * 3 / 4), "line 2: the entry a can't be written to a backup: it is too large"),
    ] {
        let error = encoder.entry(Place::Resources, &item, &mut out).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(out.len(), length);
    }
    encoder.entry(Place::Resources, &item(b"a", MAX_LINE * 3 / 4 - 100), &mut out).unwrap();
    encoder.finish(&mut out);
    assert_eq!(read(&out).unwrap().entries, 1);
}

/// A server that ran on after the backup has handed out more revisions.
#[test]
fn a_restore_skips_revisions() {
    let (to, [resources, registrations]) = stores(&Entries::new(), &Entries::new());
    restore(Reader::new(&**SMALL), &to).now_or_never().unwrap().unwrap();
    let restored = entries_of(&resources)[str::from_utf8(key::REVISIONS).unwrap()].clone();
    assert_eq!(Revisions::decode(&*restored).unwrap().reserved, 5 + REVISION_STEP);
    assert_eq!(entries_of(&registrations)["workloads/shop/web"], b"web");
}

#[test]
fn nothing_is_restored_over_other_entries() {
    let (to, _) = stores(&[("keys/\"1\"".to_owned(), Vec::new())].into(), &Entries::new());
    let error = restore(Reader::new(&**SMALL), &to).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the store of resources is not empty");
}

/// More entries and bytes than one commit has.
#[test]
fn large_backups_are_restored_in_batches() {
    let large: Entries = (0..2_500).map(|n| (format!("{n:08}"), vec![1; 1_000])).collect();
    let (from, _) = stores(&large, &large);
    let (to, restored) = stores(&Entries::new(), &Entries::new());
    restore(Reader::new(&*backup_of(&from)), &to).now_or_never().unwrap().unwrap();
    assert!(restored.iter().all(|store| entries_of(store) == large));
}
