//! Loading the records of an earlier process.

use tracing::warn;

use crate::{
    convert::record::{registration_from_store, workload_from_store},
    model::{Records, RegistrationRecord, WorkloadRecord},
    runtime::blocking::run_blocking,
    store::{Item, Store, StoreError, key},
};

/// The most damaged records that are logged one by one.
const MAX_LOGGED: usize = 10;

/// Loads all records. Those that can't be decoded are logged and skipped.
///
/// # Errors
///
/// If the store can't be read.
pub(super) async fn records(store: &dyn Store) -> Result<Records, StoreError> {
    let registrations = store.load(key::DATAPLANES).await?.items;
    let workloads = store.load(key::WORKLOADS).await?.items;
    Ok(run_blocking(|| Records {
        registrations: decode_all(registrations, decode_registration),
        workloads: decode_all(workloads, decode_workload),
    }))
}

fn decode_all<T>(items: Vec<Item>, decode: fn(&Item) -> Result<T, String>) -> Vec<T> {
    let mut decoded = Vec::with_capacity(items.len());
    let mut failed = 0;
    for item in items {
        match decode(&item) {
            Ok(record) => decoded.push(record),
            Err(error) => {
                failed += 1;
                if failed <= MAX_LOGGED {
                    let key = String::from_utf8_lossy(&item.key);
                    warn!(%key, %error, "a stored record can't be used: skipped");
                }
            }
        }
    }
    if failed > MAX_LOGGED {
        warn!(failed, "stored records can't be used: skipped");
    }
    decoded
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
