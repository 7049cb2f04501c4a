//! `MeshIdentities` as records of the store.

use prost::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::MeshIdentityDocument;
use crate::{
    convert::{
        label_map,
        record::{RecordError, time},
        timestamp,
    },
    identity::MeshIdentityRecord,
    model::{Invalid, ResourceKey},
    proto::store,
};

/// Converts a `MeshIdentity`. Its key names it, so the message does not.
pub fn mesh_identity_to_store(record: &MeshIdentityRecord) -> store::MeshIdentity {
    store::MeshIdentity {
        mesh: record.identity.mesh.to_string(),
        labels: label_map(&record.identity.labels),
        spec: record.spec.to_string(),
        uid: record.uid.as_bytes().to_vec(),
        creation_time: Some(timestamp(record.creation_time)),
        generation: record.generation,
    }
}

/// Decodes the `MeshIdentity` with this key, which was written at this revision.
///
/// # Errors
///
/// If the value is no `MeshIdentity`, or a field is invalid: the first violation.
pub fn mesh_identity_from_store(
    key: &ResourceKey,
    value: &[u8],
    revision: u64,
) -> Result<MeshIdentityRecord, RecordError> {
    let stored = store::MeshIdentity::decode(value)?;
    let spec: Value =
        serde_json::from_str(&stored.spec).map_err(|error| Invalid::new("spec", error.to_string()))?;
    let document = json!({
        "type": "MeshIdentity",
        "mesh": stored.mesh,
        "namespace": key.namespace.as_str(),
        "name": key.name.as_str(),
        "labels": stored.labels,
        "spec": spec,
    });
    let document = MeshIdentityDocument::parse(&document).map_err(|violations| {
        let first = violations.0.into_iter().next();
        first.unwrap_or_else(|| Invalid::new("", "is invalid"))
    })?;
    Ok(MeshIdentityRecord {
        identity: document.identity,
        spec: document.spec,
        uid: Uuid::from_slice(&stored.uid).map_err(|error| Invalid::new("uid", error.to_string()))?,
        creation_time: time("creation_time", stored.creation_time)?,
        generation: stored.generation,
        revision,
    })
}
