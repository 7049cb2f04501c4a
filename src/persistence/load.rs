//! Loading the records of an earlier process.

use std::{num::NonZero, panic::resume_unwind, thread};

use bytes::Bytes;
use tracing::warn;

use crate::{
    convert::record::{registration_from_store, workload_from_store},
    model::{Records, RegistrationRecord, WorkloadRecord},
    runtime::blocking::run_blocking,
    store::{Item, Store, StoreError, key},
};

/// The most damaged records that are logged one by one.
const MAX_LOGGED: usize = 10;
/// The fewest items for which a thread is started: they take milliseconds.
const SMALLEST_PART: usize = 2_000;

/// Loads all records. Those that can't be decoded are logged and skipped.
///
/// # Errors
///
/// If the store can't be read.
pub(super) async fn records(store: &dyn Store) -> Result<Records, StoreError> {
    let registrations = store.load(key::DATAPLANES).await?.items;
    let workloads = store.load(key::WORKLOADS).await?.items;
    Ok(run_blocking(|| Records {
        registrations: decode_all(&registrations, decode_registration),
        workloads: decode_all(&workloads, decode_workload),
    }))
}

/// Decodes on all processors: this is a fifth of a restart.
fn decode_all<T: Send>(items: &[Item], decode: fn(&Item) -> Result<T, String>) -> Vec<T> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let part = items.len().div_ceil(processors).max(SMALLEST_PART);
    let mut parts = items.chunks(part);
    let first = parts.next().unwrap_or_default();
    let decoded = thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || decode_part(part, decode))).collect();
        let mut decoded = decode_part(first, decode);
        for other in others {
            match other.join() {
                Ok(part) => decoded.append(part),
                Err(panic) => resume_unwind(panic),
            }
        }
        decoded
    });
    decoded.log_failures();
    decoded.records
}

fn decode_part<T>(items: &[Item], decode: fn(&Item) -> Result<T, String>) -> Decoded<T> {
    let mut decoded = Decoded { records: Vec::with_capacity(items.len()), failures: Vec::new(), failed: 0 };
    for item in items {
        match decode(item) {
            Ok(record) => decoded.records.push(record),
            Err(error) => {
                decoded.failed += 1;
                if decoded.failures.len() < MAX_LOGGED {
                    decoded.failures.push((item.key.clone(), error));
                }
            }
        }
    }
    decoded
}

/// What some items contain.
struct Decoded<T> {
    records: Vec<T>,
    /// The first keys whose values can't be decoded, and why.
    failures: Vec<(Bytes, String)>,
    /// How many can't be decoded.
    failed: usize,
}

impl<T> Decoded<T> {
    fn append(&mut self, later: Self) {
        self.records.extend(later.records);
        self.failures.extend(later.failures);
        self.failures.truncate(MAX_LOGGED);
        self.failed += later.failed;
    }

    fn log_failures(&self) {
        for (key, error) in &self.failures {
            let key = String::from_utf8_lossy(key);
            warn!(%key, %error, "a stored record can't be used: skipped");
        }
        if self.failed > MAX_LOGGED {
            warn!(failed = self.failed, "stored records can't be used: skipped");
        }
    }
}

/// Decodes a registration.
///
/// # Errors
///
/// If its key or its value is not one that headcount writes.
pub(super) fn decode_registration(item: &Item) -> Result<RegistrationRecord, String> {
    let parts = key::dataplane_parts(&item.key).ok_or("has not the key of a dataplane")?;
    registration_from_store(parts, &item.value).map_err(|error| error.to_string())
}

fn decode_workload(item: &Item) -> Result<WorkloadRecord, String> {
    let parts = key::workload_parts(&item.key).ok_or("has not the key of a workload")?;
    workload_from_store(parts, &item.value).map_err(|error| error.to_string())
}
