//! A backup is read or rejected, in whichever parts it arrives. One that is accepted has its entries in
//! the order of stores and keys, and is the same after it was written again.

use std::fmt::Write as _;

use headcount::store::{
    Item,
    backup::{BackupError, Check, Encoder, Entry, Reader, Summary},
};

/// The sizes of chunks for the reader of chunks.
const CHUNKS: [usize; 3] = [1, 7, 64];

/// Input: a backup, or one without its trailer.
pub fn check(input: &[u8]) {
    check_one(input);
    // No fuzzer finds a digest.
    check_one(&sealed(input));
}

fn check_one(backup: &[u8]) {
    let mut entries = Vec::new();
    let read = Reader::new(backup).read_all(|entry| entries.push(entry));
    for size in CHUNKS {
        assert_eq!(text(&read_chunks(backup, size)), text(&read), "chunks of {size} bytes");
    }
    let Ok(summary) = read else { return };
    assert_eq!(summary.entries, entries.len() as u64);
    assert!(entries.is_sorted_by_key(|entry| (entry.place, entry.key.clone())));

    let written = written(&summary, &entries);
    let mut again = Vec::new();
    let read = Reader::new(&*written).read_all(|entry| again.push(entry)).expect("what was written is right");
    assert_eq!(again, entries);
    assert_eq!(read.bytes, written.len() as u64);
}

fn read_chunks(backup: &[u8], size: usize) -> Result<Summary, BackupError> {
    let mut check = Check::default();
    backup.chunks(size).try_for_each(|chunk| check.push(chunk))?;
    check.end()
}

fn text(result: &Result<Summary, BackupError>) -> Result<Summary, String> {
    match result {
        Ok(summary) => Ok(summary.clone()),
        Err(error) => Err(error.to_string()),
    }
}

fn written(summary: &Summary, entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(summary.header.created, &mut out);
    for Entry { place, key, value } in entries {
        let item = Item { key: key.clone(), value: value.clone(), revision: 1, created: 1 };
        encoder.entry(*place, &item, &mut out).expect("what was read can be written");
    }
    encoder.finish(&mut out);
    out
}

/// The input with the trailer that it needs.
fn sealed(input: &[u8]) -> Vec<u8> {
    let mut backup = input.to_vec();
    let lines = input.split(|byte| *byte == b'\n').count() - 1;
    let digest = ring::digest::digest(&ring::digest::SHA256, input);
    let digest = digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all");
        hex
    });
    let trailer =
        format!("{{\"trailer\":{{\"entries\":{},\"sha256\":\"{digest}\"}}}}\n", lines.saturating_sub(1));
    backup.extend_from_slice(trailer.as_bytes());
    backup
}
