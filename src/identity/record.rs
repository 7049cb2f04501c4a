//! `MeshIdentities` that a server has.

use std::{collections::BTreeMap, time::SystemTime};

use serde_json::Value;
use uuid::Uuid;

use super::{MeshIdentity, SpiffeId, Unidentified, select};
use crate::model::{Dataplane, ResourceKey};

/// A `MeshIdentity` with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshIdentityRecord {
    /// The resource.
    pub identity: MeshIdentity,
    /// Its spec as the operator wrote it, an object.
    pub spec: Value,
    /// A resource that is created again has another one.
    pub uid: Uuid,
    /// When it was created.
    pub creation_time: SystemTime,
    /// The number of changes of the spec, from 1.
    pub generation: u64,
    /// The revision of the store at which it was written.
    pub revision: u64,
}

/// All `MeshIdentities` of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentitySet(BTreeMap<ResourceKey, MeshIdentityRecord>);

impl IdentitySet {
    /// The `MeshIdentity` with this key.
    pub fn get(&self, key: &ResourceKey) -> Option<&MeshIdentityRecord> {
        self.0.get(key)
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &MeshIdentityRecord> {
        self.0.values()
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The SPIFFE ID of a dataplane; none if no `MeshIdentity` selects it.
    ///
    /// # Errors
    ///
    /// If the `MeshIdentity` that selects it gives it no SPIFFE ID.
    pub fn identify(&self, dataplane: &Dataplane) -> Option<Result<SpiffeId, Unidentified>> {
        let selected = select(self.iter().map(|record| &record.identity), dataplane)?;
        Some(selected.identify(dataplane))
    }
}

impl FromIterator<MeshIdentityRecord> for IdentitySet {
    fn from_iter<T: IntoIterator<Item = MeshIdentityRecord>>(records: T) -> Self {
        Self(records.into_iter().map(|record| (record.identity.key.clone(), record)).collect())
    }
}
