//! Stored signing keys and revocations.

use std::collections::BTreeMap;

use crate::{
    authentication::token::SigningKey,
    convert::token::{revocation_from_store, signing_key_from_store},
    model::{KeyId, KeyUse, Revocation, SigningKeyRecord},
    store::{Item, Store, StoreError, key},
};

/// A signing key that can be used.
#[derive(Debug)]
pub(super) struct StoredKey {
    pub(super) record: SigningKeyRecord,
    pub(super) key: SigningKey,
}

/// What is stored, decoded.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) keys: BTreeMap<(KeyUse, KeyId), StoredKey>,
    pub(super) revocations: Vec<Revocation>,
}

impl Stored {
    /// Loads everything.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or one record can't be used: without it tokens would be
    /// rejected, or those that were revoked accepted.
    pub(super) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let mut stored = Self::default();
        for item in store.load(key::TOKEN_KEYS).await?.items {
            let key = signing_key(&item).map_err(|error| damaged(&item, &error))?;
            stored.keys.insert((key.record.usage.clone(), key.record.id.clone()), key);
        }
        for item in store.load(key::REVOCATIONS).await?.items {
            stored.revocations.push(revocation(&item).map_err(|error| damaged(&item, &error))?);
        }
        Ok(stored)
    }
}

fn damaged(item: &Item, error: &str) -> StoreError {
    let key = item.key.escape_ascii();
    StoreError::Damaged(format!("the record {key} {error}: restore the directory from a backup"))
}

fn signing_key(item: &Item) -> Result<StoredKey, String> {
    let parts = key::token_key_parts(&item.key).ok_or("has not the key of a signing key")?;
    let record = signing_key_from_store(parts, &item.value).map_err(|error| error.to_string())?;
    let key = SigningKey::new(record.private_key.clone(), record.algorithm)
        .map_err(|error| format!("is invalid: private_key: {error}"))?;
    Ok(StoredKey { record, key })
}

fn revocation(item: &Item) -> Result<Revocation, String> {
    let id = key::revoked_token_id(&item.key).ok_or("has not the key of a revocation")?;
    revocation_from_store(id, &item.value).map_err(|error| error.to_string())
}

/// Checks the record of a signing key or a revocation; none if it is another record. The error
/// completes a sentence that begins with the record.
///
/// # Errors
///
/// If a server could not use it.
pub fn check_token_record(item: &Item) -> Option<Result<(), String>> {
    if item.key.starts_with(key::TOKEN_KEYS) {
        Some(signing_key(item).map(drop))
    } else if item.key.starts_with(key::REVOCATIONS) {
        Some(revocation(item).map(drop))
    } else {
        None
    }
}
