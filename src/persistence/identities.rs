//! The `MeshIdentities` that operators write.
//!
//! A change is stored before it takes effect, and has an effect on all readers at once.

use std::{sync::Arc, time::SystemTime};

use prost::Message as _;
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use crate::{
    convert::{
        MeshIdentityDocument, mesh_identity_from_store, mesh_identity_to_proto, mesh_identity_to_store,
    },
    identity::{IdentitySet, MeshIdentityRecord},
    model::ResourceKey,
    store::{Expected, Item, Outcome, Store, StoreError, Write, key},
};

/// The most `MeshIdentities`.
pub const MAX_MESH_IDENTITIES: usize = 1_000;
/// The most bytes of a spec as JSON.
const MAX_SPEC_BYTES: usize = 64 << 10;
/// The most bytes of all `MeshIdentities` as messages. gRPC clients accept a list of 4 MiB by default.
const MAX_TOTAL_BYTES: usize = 3 << 20;

/// The `MeshIdentities` of a server.
#[derive(Debug)]
pub struct MeshIdentities {
    store: Arc<dyn Store>,
    /// Locked while a change is stored.
    changing: Mutex<()>,
    current: watch::Sender<Arc<IdentitySet>>,
}

/// What an application of a document has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It has created the resource.
    Created,
    /// It has changed the resource.
    Configured,
    /// The resource was as the document says.
    Unchanged,
}

/// Why a `MeshIdentity` was not changed. The text names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeshIdentityError {
    /// There is none.
    #[error("meshidentity {:?} not found in namespace {}", .0.name.as_str(), .0.namespace)]
    NotFound(ResourceKey),
    /// It was changed since the caller has read it.
    #[error("meshidentity {key} was changed: its version is {}, not {expected}: read it and try again", display(*present))]
    Changed {
        /// The resource.
        key: ResourceKey,
        /// The version that the caller wants to replace.
        expected: u64,
        /// The present one; none if the resource does not exist.
        present: Option<u64>,
    },
    /// It is in another mesh.
    /// The text does not name that mesh, which the caller may have no right to read.
    #[error("meshidentity {0} is in another mesh: delete it first, or choose another name")]
    OtherMesh(ResourceKey),
    /// There are as many as may be stored.
    #[error("at most {MAX_MESH_IDENTITIES} MeshIdentities are stored: delete those that are not used")]
    TooMany,
    /// All together are too large.
    #[error("all MeshIdentities together may have {MAX_TOTAL_BYTES} bytes: delete those that are not used")]
    TooLargeTogether,
    /// The spec is too large.
    #[error("the spec has {0} bytes as JSON: at most {MAX_SPEC_BYTES} are allowed")]
    TooLarge(usize),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn display(version: Option<u64>) -> String {
    version.map_or_else(|| "none, because it does not exist".to_owned(), |version| version.to_string())
}

impl MeshIdentities {
    /// Loads all.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or a record can't be used: without it dataplanes would have other identities.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let current = watch::Sender::new(Arc::new(load(&*store).await?));
        Ok(Self { store, changing: Mutex::new(()), current })
    }

    /// Those of now.
    pub fn current(&self) -> Arc<IdentitySet> {
        Arc::clone(&self.current.borrow())
    }

    /// Creates a resource, or replaces its labels and its spec. `expected` is the version that is replaced; any if
    /// none.
    ///
    /// # Errors
    ///
    /// If the present version is another, the resource is in another mesh, there are too many or they are too
    /// large, or the store failed.
    pub async fn apply(
        &self,
        document: MeshIdentityDocument,
        expected: Option<u64>,
        now: SystemTime,
    ) -> Result<(MeshIdentityRecord, Applied), MeshIdentityError> {
        let _changing = self.changing.lock().await;
        let current = self.current();
        let MeshIdentityDocument { identity, spec, .. } = document;
        check_size(&spec)?;
        let key = identity.key.clone();
        let present = current.get(&key);
        if present.is_some_and(|present| present.identity.mesh != identity.mesh) {
            return Err(MeshIdentityError::OtherMesh(key));
        }
        let version = present.map(|present| present.revision);
        if let Some(expected) = expected.filter(|expected| Some(*expected) != version) {
            return Err(MeshIdentityError::Changed { key, expected, present: version });
        }
        let record = match present {
            Some(present) => {
                let generation = present.generation + u64::from(present.spec != spec);
                MeshIdentityRecord { identity, spec, generation, ..present.clone() }
            }
            None if current.len() >= MAX_MESH_IDENTITIES => return Err(MeshIdentityError::TooMany),
            None => MeshIdentityRecord {
                identity,
                spec,
                uid: Uuid::new_v4(),
                creation_time: now,
                generation: 1,
                revision: 0,
            },
        };
        let applied = match present {
            Some(present) if *present == record => return Ok((record, Applied::Unchanged)),
            Some(_) => Applied::Configured,
            None => Applied::Created,
        };
        let others = current.iter().filter(|other| other.identity.key != key);
        let bytes = |record| mesh_identity_to_proto(record).encoded_len();
        if others.chain([&record]).map(bytes).sum::<usize>() > MAX_TOTAL_BYTES {
            return Err(MeshIdentityError::TooLargeTogether);
        }
        self.write(&key, version, Some(&record)).await?;
        let stored = self.current().get(&key).cloned();
        Ok((stored.ok_or(MeshIdentityError::NotFound(key))?, applied))
    }

    /// Deletes the resource with this `uid`. One that was created again may be in another mesh, for which
    /// the caller has no right.
    ///
    /// # Errors
    ///
    /// If there is none, or the store failed.
    pub async fn delete(&self, key: &ResourceKey, uid: Uuid) -> Result<(), MeshIdentityError> {
        let _changing = self.changing.lock().await;
        let current = self.current();
        let present = current.get(key).filter(|present| present.uid == uid);
        let present = present.ok_or_else(|| MeshIdentityError::NotFound(key.clone()))?;
        self.write(key, Some(present.revision), None).await
    }

    /// Stores a record, or its deletion, and publishes what is stored then.
    async fn write(
        &self,
        key: &ResourceKey,
        version: Option<u64>,
        record: Option<&MeshIdentityRecord>,
    ) -> Result<(), MeshIdentityError> {
        let write = Write {
            key: key::mesh_identity(key),
            expected: version.map_or(Expected::Absent, Expected::Revision),
            value: record.map(|record| mesh_identity_to_store(record).encode_to_vec().into()),
        };
        let committed = self.store.commit(vec![write]).await;
        // Also after an error, because the change may have been stored.
        match load(&*self.store).await {
            Ok(stored) => {
                self.current.send_replace(Arc::new(stored));
            }
            Err(error) => return Err(committed.err().unwrap_or(error).into()),
        }
        match committed?.outcomes[..] {
            [Outcome::Conflict(present)] => {
                let (key, expected) = (key.clone(), version.unwrap_or_default());
                Err(MeshIdentityError::Changed { key, expected, present })
            }
            _ => Ok(()),
        }
    }
}

fn check_size(spec: &Value) -> Result<(), MeshIdentityError> {
    let bytes = spec.to_string().len();
    if bytes > MAX_SPEC_BYTES { Err(MeshIdentityError::TooLarge(bytes)) } else { Ok(()) }
}

async fn load(store: &dyn Store) -> Result<IdentitySet, StoreError> {
    let items = store.load(key::MESH_IDENTITIES).await?.items;
    let records = items.iter().map(|item| {
        record(item).map_err(|error| {
            let key = item.key.escape_ascii();
            StoreError::Damaged(format!("the record {key} {error}: restore the directory from a backup"))
        })
    });
    records.collect()
}

fn record(item: &Item) -> Result<MeshIdentityRecord, String> {
    let key = key::mesh_identity_key(&item.key).ok_or("has not the key of a MeshIdentity")?;
    mesh_identity_from_store(&key, &item.value, item.revision).map_err(|error| error.to_string())
}

/// Checks the record of a `MeshIdentity`; none if it is another record. The error completes a sentence that
/// begins with the record.
///
/// # Errors
///
/// If a server could not use it.
pub fn check_mesh_identity_record(item: &Item) -> Option<Result<(), String>> {
    item.key.starts_with(key::MESH_IDENTITIES).then(|| record(item).map(drop))
}

#[cfg(test)]
mod tests;
