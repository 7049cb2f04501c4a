//! The size of a file.

use std::iter;

use super::{commit, new_disk, open, put};
use crate::store::{Expected, Write};

/// Registrations, with values of the usual size.
const RECORDS: u32 = 5_000;

fn key(n: u32) -> String {
    format!("dataplanes/default/shop/web-{:08x}-{n}", n.wrapping_mul(0x9e37_79b9))
}

#[test]
fn a_file_does_not_grow_with_the_changes_of_its_entries() {
    let disk = new_disk(0);
    let store = open(&disk).unwrap();
    let mut random = fastrand::Rng::with_seed(0);
    // They can't be compressed.
    let value = |random: &mut fastrand::Rng| {
        let length = random.usize(150..200);
        iter::repeat_with(|| random.u8(..)).take(length).collect::<Vec<_>>()
    };
    for batch in 0..RECORDS / 500 {
        let keys = batch * 500..(batch + 1) * 500;
        commit(&store, keys.map(|n| put(key(n), value(&mut random))).collect()).unwrap();
    }
    let full = disk.bytes().len();
    let mut largest = 0;
    for _ in 0..60 {
        // Rewrites, deletions and new entries, so that about as many remain.
        let mut writes: Vec<Write> = Vec::new();
        for n in (0..500).map(|_| random.u32(0..2 * RECORDS)).collect::<std::collections::BTreeSet<_>>() {
            let value = random.bool().then(|| value(&mut random).into());
            writes.push(Write { key: key(n).into(), expected: Expected::Any, value });
        }
        commit(&store, writes).unwrap();
        largest = largest.max(disk.bytes().len());
    }
    assert!(largest <= 2 * full, "{full} bytes grew to {largest}");
}

#[test]
fn a_file_that_has_all_entries_changed_again_and_again_keeps_its_length() {
    const ENTRIES: u32 = 1_000;
    let disk = new_disk(0);
    let store = open(&disk).unwrap();
    let mut random = fastrand::Rng::with_seed(0);
    let mut lengths = Vec::new();
    for _ in 0..40 {
        for batch in 0..ENTRIES / 250 {
            let put = |n| put(key(n), iter::repeat_with(|| random.u8(..)).take(150).collect::<Vec<_>>());
            commit(&store, (batch * 250..(batch + 1) * 250).map(put).collect()).unwrap();
        }
        lengths.push(disk.bytes().len());
    }
    assert!(lengths[3..].iter().all(|length| *length <= lengths[2]), "{lengths:?}");
}
