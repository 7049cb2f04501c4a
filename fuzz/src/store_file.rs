//! A damaged file of a data directory is rejected and then unchanged, or it has the entries that were
//! written, and takes new ones. They may be those of the commit before the last one: redb has no checksum
//! for the bit that selects one of the two.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::FutureExt as _;
use headcount::store::{DataDir, DataDirError, Expected, Item, Store, Write, verify};

const PAGE: usize = 4_096;

/// A file to damage.
struct Original {
    bytes: Vec<u8>,
    /// After the last two commits.
    entries: [Vec<Item>; 2],
}

/// What a directory has.
struct Fixture {
    /// Registrations, after the server has ended, and as a crash leaves them.
    originals: [Original; 2],
    resources: Vec<u8>,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let directory = Directory::new();
    let path = &directory.0;
    let data = DataDir::open(path).expect("a new directory");
    let store = data.registrations();
    let mut entries = [Vec::new(), Vec::new()];
    for commit in 0..4_u8 {
        let writes = (0..30).map(|n| put(&format!("key/{}/{n}", commit % 3), vec![commit; 150]));
        store.commit(writes.collect()).now_or_never().expect("it runs in place").expect("a commit");
        entries = [load(&*store), std::mem::take(&mut entries[0])];
    }
    let file = path.join(FILE);
    let crashed = Original { bytes: fs::read(&file).expect("a file"), entries: entries.clone() };
    drop((store, data));
    let closed = Original { bytes: fs::read(&file).expect("a file"), entries };
    let resources = fs::read(path.join(RESOURCES)).expect("a file");
    Fixture { originals: [closed, crashed], resources }
});

const FILE: &str = "registrations.redb";
const RESOURCES: &str = "resources.redb";

/// Input: a byte that selects the file, then edits: a byte for the page, two bytes for the offset
/// in it, and a byte for the number of bytes that follow and replace those of the file. The
/// number 255 truncates the file there, and 254 is a page of zeros instead.
pub fn check(input: &[u8]) {
    let Some((selector, edits)) = input.split_first() else { return };
    let Fixture { originals, resources } = &*FIXTURE;
    let original = &originals[usize::from(selector % 2)];
    let damaged = edited(original.bytes.clone(), edits);
    let directory = Directory::new();
    let path = &directory.0;
    fs::create_dir(path).expect("a new directory");
    fs::write(path.join(RESOURCES), resources).expect("a file");
    let file = path.join(FILE);
    fs::write(&file, &damaged).expect("a file");

    let contents = |opened: Result<DataDir, DataDirError>| opened.map(|data| load(&*data.registrations()));
    let read = contents(DataDir::open_existing(path));
    let verified = verify(path).expect("a directory").pop().expect("the registrations").contents;
    assert_unchanged(&file, &damaged);
    assert_eq!(read.is_ok(), verified.is_ok(), "{read:?}, {verified:?}");
    match read {
        Ok(entries) => {
            assert!(original.entries.contains(&entries), "other entries");
            assert_takes_entries(path, entries.len());
        }
        Err(error) => {
            assert_describes(&error);
            assert_describes(&contents(DataDir::open(path)).expect_err("it was rejected before"));
            assert_unchanged(&file, &damaged);
        }
    }
}

fn edited(mut bytes: Vec<u8>, mut edits: &[u8]) -> Vec<u8> {
    while let [page, low, high, length, rest @ ..] = edits {
        let offset = usize::from(*page) * PAGE + usize::from(u16::from_le_bytes([*low, *high])) % PAGE;
        edits = rest;
        let Some(tail) = bytes.get_mut(offset..) else { continue };
        match length {
            255 => bytes.truncate(offset),
            254 => tail.iter_mut().take(PAGE).for_each(|byte| *byte = 0),
            length => {
                let (data, others) = rest.split_at(rest.len().min(usize::from(*length)));
                tail.iter_mut().zip(data).for_each(|(byte, new)| *byte = *new);
                edits = others;
            }
        }
    }
    bytes
}

fn assert_takes_entries(path: &Path, before: usize) {
    for n in 1..=2 {
        let data = DataDir::open(path).expect("it was accepted before");
        let store = data.registrations();
        assert_eq!(load(&*store).len(), before + n - 1);
        let committed = store.commit(vec![put(&format!("new/{n}"), vec![1; 200])]);
        committed.now_or_never().expect("it runs in place").expect("a commit");
    }
}

fn assert_unchanged(file: &Path, bytes: &[u8]) {
    assert!(fs::read(file).expect("a file") == bytes, "the file was changed");
}

fn assert_describes(error: &DataDirError) {
    let text = error.to_string();
    assert!(text.contains(FILE) && text.contains("was not changed"), "{text}");
    assert!(text.len() < 1_000 && !text.contains(char::is_control), "{text:?}");
}

fn load(store: &dyn Store) -> Vec<Item> {
    store.load(b"").now_or_never().expect("it runs in place").expect("entries").items
}

fn put(key: &str, value: Vec<u8>) -> Write {
    Write { key: key.to_owned().into(), expected: Expected::Any, value: Some(value.into()) }
}

/// The path of a directory, in memory where that is possible. The directory is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        Self(parent.join(format!("headcount-fuzz-{}-{number}", process::id())))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
