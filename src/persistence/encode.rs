//! Changes of records as writes to a store.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    convert::record::{registration_to_store, workload_to_store},
    model::Records,
    registry::RecordChanges,
    store::{Expected, Item, Write, key},
};

/// The writes of these changes, in an order that is not that of their keys. Registrations often
/// come in the order of their names. A B-tree into whose middle keys are inserted in their order
/// keeps pages that are half full; otherwise they are more than two thirds full.
pub(super) fn changes(changes: &RecordChanges) -> Vec<Write> {
    let workloads = changes.workloads.iter().map(|(key, record)| {
        let value = record.as_ref().map(|record| workload_to_store(record).encode_to_vec());
        write(key::workload(key), value)
    });
    let registrations = changes.registrations.iter().map(|(key, record)| {
        let value = record.as_ref().map(|record| registration_to_store(record).encode_to_vec());
        write(key::dataplane(key), value)
    });
    let mut writes: Vec<_> = workloads.chain(registrations).collect();
    fastrand::Rng::with_seed(0).shuffle(&mut writes);
    writes
}

/// The writes that make a store have these records and no others.
pub(super) fn all(records: &Records, stored: &[Item]) -> Vec<Write> {
    let workloads = records
        .workloads
        .iter()
        .map(|record| write(key::workload(&record.key), Some(workload_to_store(record).encode_to_vec())));
    let registrations = records.registrations.iter().map(|record| {
        let value = registration_to_store(record).encode_to_vec();
        write(key::dataplane(&record.dataplane.key), Some(value))
    });
    let mut writes: Vec<_> = workloads.chain(registrations).collect();
    let present: HashSet<_> = writes.iter().map(|write| write.key.clone()).collect();
    writes.extend(
        stored.iter().filter(|item| !present.contains(&item.key)).map(|item| write(item.key.clone(), None)),
    );
    writes
}

fn write(key: Bytes, value: Option<Vec<u8>>) -> Write {
    Write { key, expected: Expected::Any, value: value.map(Bytes::from) }
}
