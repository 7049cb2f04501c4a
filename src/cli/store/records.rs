//! What a valid record is.

use prost::Message;

use crate::{
    convert::record::{registration_from_store, workload_from_store},
    proto::store::{Registration, Revisions, Workload},
    store::{Item, key},
};

/// The kind of a record.
pub(super) enum Record {
    Dataplane,
    Workload,
    Other,
}

/// Decodes a record as a server does. The error completes a sentence that begins with the record.
pub(super) fn check(item: &Item) -> Result<Record, String> {
    if let Some(parts) = key::dataplane_parts(&item.key) {
        let found = registration_from_store(parts, decode::<Registration>(item)?);
        found.map(|_| Record::Dataplane).map_err(|invalid| format!("is invalid: {invalid}"))
    } else if let Some(parts) = key::workload_parts(&item.key) {
        let found = workload_from_store(parts, &decode::<Workload>(item)?);
        found.map(|_| Record::Workload).map_err(|invalid| format!("is invalid: {invalid}"))
    } else if *item.key == *key::REVISIONS {
        decode::<Revisions>(item).map(|_| Record::Other)
    } else {
        Err("is of a kind that this version does not know".to_owned())
    }
}

fn decode<M: Message + Default>(item: &Item) -> Result<M, String> {
    M::decode(&*item.value).map_err(|error| format!("can't be decoded: {error}"))
}
