//! What a valid record is.

use prost::Message as _;

use crate::{
    convert::record::{RecordError, registration_from_store, workload_from_store},
    persistence::{identities::check_mesh_identity_record, tokens::check_token_record},
    proto::store::Revisions,
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
    if let Some(checked) = check_token_record(item).or_else(|| check_mesh_identity_record(item)) {
        return checked.map(|()| Record::Other);
    }
    let found = if let Some(parts) = key::dataplane_parts(&item.key) {
        registration_from_store(parts, &item.value).map(|_| Record::Dataplane)
    } else if let Some(parts) = key::workload_parts(&item.key) {
        workload_from_store(parts, &item.value).map(|_| Record::Workload)
    } else if *item.key == *key::REVISIONS {
        Revisions::decode(&*item.value).map(|_| Record::Other).map_err(RecordError::from)
    } else {
        return Err("is of a kind that this version does not know".to_owned());
    };
    found.map_err(|error| error.to_string())
}
