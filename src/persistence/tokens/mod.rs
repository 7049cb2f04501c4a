//! The keys that the server signs and verifies tokens with, and the tokens that were revoked.
//!
//! Signing keys and revocations are stored before a change takes effect. Each change makes a new
//! [`Verifier`] of everything that is stored, and of the public keys that files have.

mod records;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prost::Message as _;
use tokio::sync::{Mutex, watch};

use self::records::Stored;
pub use self::records::check_token_record;
use crate::{
    authentication::token::{
        Claims, KeyError, SigningKey, Subject, VerificationKey, VerificationKeys, Verifier, issue,
    },
    convert::token::{revocation_to_store, signing_key_to_store},
    model::{KeyId, KeyUse, Revocation, SigningKeyRecord, TokenId},
    store::{Expected, Outcome, Store, StoreError, Write, key},
};

/// The most signing keys.
pub const MAX_SIGNING_KEYS: usize = 1_000;
/// The most revocations.
pub const MAX_REVOCATIONS: usize = 10_000;
/// How long after the end of a token its revocation is kept: the clock may be set back.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_hours(24);

/// The server's keys for tokens, and revocations.
pub struct TokenKeys {
    store: Arc<dyn Store>,
    /// Locked while a change is stored.
    state: Mutex<State>,
    verifier: watch::Sender<Verifier>,
}

/// A new token.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token itself.
    pub token: String,
    /// Its identifier.
    pub id: TokenId,
}

#[derive(Debug, Default)]
struct State {
    stored: Stored,
    /// Public keys of files.
    trusted: Vec<VerificationKey>,
}

/// Why keys or revocations were not changed. The text names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeysError {
    /// The identifier is in use.
    #[error("there is already a key with KID {id} for {usage}: choose another KID")]
    Exists {
        /// The identifier.
        id: KeyId,
        /// The use of both keys.
        usage: KeyUse,
    },
    /// There is no such key.
    #[error("there is no signing key with KID {id} for {usage}")]
    NotFound {
        /// The identifier.
        id: KeyId,
        /// The use.
        usage: KeyUse,
    },
    /// No key may sign such tokens.
    #[error("there is no signing key for {0}: create one")]
    NoKey(KeyUse),
    /// A key can't be used.
    #[error("the key {0}")]
    Key(#[from] KeyError),
    /// There are as many keys as may be stored.
    #[error("at most {MAX_SIGNING_KEYS} signing keys are stored: remove one that is no longer used")]
    TooManyKeys,
    /// There are as many revocations as may be stored.
    #[error(
        "at most {MAX_REVOCATIONS} revocations are stored: create a new signing key, issue the tokens that are to \
         remain valid again with it, and delete the old key, which ends all of its tokens"
    )]
    TooManyRevocations,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenKeys {
    /// Loads the keys and revocations. Revocations of tokens that ended long before `now` are
    /// dropped.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written, or has a record that can't be used.
    pub async fn load(store: Arc<dyn Store>, now: SystemTime) -> Result<Self, StoreError> {
        let stored = Stored::load(&*store).await?;
        let state = State { stored, trusted: Vec::new() };
        let keys = Self { verifier: watch::Sender::new(state.verifier()), state: Mutex::new(state), store };
        let mut state = keys.state.lock().await;
        let expired = state.expired(now);
        if !expired.is_empty() {
            keys.commit(&mut state, expired).await?;
        }
        drop(state);
        Ok(keys)
    }

    /// The present verifier, and each one that replaces it.
    pub fn verifier(&self) -> watch::Receiver<Verifier> {
        self.verifier.subscribe()
    }

    /// Replaces the public keys of files.
    ///
    /// # Errors
    ///
    /// If two keys have one identifier for one use. No key is added then, and the earlier keys that are
    /// not among `keys` are removed: an operator that removes a key relies on it.
    pub async fn trust(&self, keys: Vec<VerificationKey>) -> Result<(), TokenKeysError> {
        let mut state = self.state.lock().await;
        let mut all = VerificationKeys::default();
        let mut candidates = state.stored.verification_keys().chain(keys.iter().cloned());
        let twice = candidates.find_map(|key| {
            let (id, usage) = (key.id.clone(), key.usage.clone());
            (!all.add(key)).then_some(TokenKeysError::Exists { id, usage })
        });
        drop(candidates);
        if let Some(twice) = twice {
            state.trusted.retain(|key| keys.contains(key));
            self.publish(&state);
            return Err(twice);
        }
        // Each new verifier causes a check of all live calls.
        if state.trusted != keys {
            state.trusted = keys;
            self.publish(&state);
        }
        Ok(())
    }

    /// Stores a new signing key. Tokens that it has signed are valid from now on.
    ///
    /// # Errors
    ///
    /// If the identifier is in use, there are too many keys, the key can't be used, or the store
    /// failed.
    pub async fn add(&self, record: &SigningKeyRecord) -> Result<(), TokenKeysError> {
        let mut state = self.state.lock().await;
        SigningKey::new(record.private_key.clone(), record.algorithm)?;
        let exists = || TokenKeysError::Exists { id: record.id.clone(), usage: record.usage.clone() };
        if state.trusted.iter().any(|key| (&key.usage, &key.id) == (&record.usage, &record.id)) {
            return Err(exists());
        }
        if state.stored.keys.len() >= MAX_SIGNING_KEYS {
            return Err(TokenKeysError::TooManyKeys);
        }
        let write = Write {
            key: key::token_key(&record.usage, &record.id),
            expected: Expected::Absent,
            value: Some(signing_key_to_store(record).encode_to_vec().into()),
        };
        match self.commit(&mut state, vec![write]).await?[..] {
            [Outcome::Applied] => Ok(()),
            _ => Err(exists()),
        }
    }

    /// All signing keys that are stored.
    pub async fn list(&self) -> Vec<SigningKeyRecord> {
        self.state.lock().await.stored.keys.values().map(|stored| stored.record.clone()).collect()
    }

    /// All revocations that are stored.
    pub async fn revocations(&self) -> Vec<Revocation> {
        self.state.lock().await.stored.revocations.clone()
    }

    /// Removes a signing key. Its tokens are no longer valid.
    ///
    /// # Errors
    ///
    /// If there is no such key, or the store failed.
    pub async fn remove(&self, usage: &KeyUse, id: &KeyId) -> Result<(), TokenKeysError> {
        let mut state = self.state.lock().await;
        if !state.stored.keys.contains_key(&(usage.clone(), id.clone())) {
            return Err(TokenKeysError::NotFound { id: id.clone(), usage: usage.clone() });
        }
        let write = Write { key: key::token_key(usage, id), expected: Expected::Any, value: None };
        self.commit(&mut state, vec![write]).await?;
        Ok(())
    }

    /// Revokes a token. Revocations of tokens that ended long before `now` are dropped.
    ///
    /// # Errors
    ///
    /// If there are too many revocations, or the store failed: it is not revoked then.
    pub async fn revoke(&self, revocation: &Revocation, now: SystemTime) -> Result<(), TokenKeysError> {
        let mut state = self.state.lock().await;
        let key = key::revoked_token(&revocation.id);
        let mut writes = state.expired(now);
        writes.retain(|write| write.key != key);
        if state.stored.revocations.len() - writes.len() >= MAX_REVOCATIONS {
            return Err(TokenKeysError::TooManyRevocations);
        }
        let value = Some(revocation_to_store(revocation).encode_to_vec().into());
        writes.push(Write { key, expected: Expected::Any, value });
        self.commit(&mut state, writes).await?;
        Ok(())
    }

    /// Issues a token with the newest key that may sign it. `valid_for` has whole seconds.
    ///
    /// # Errors
    ///
    /// If no stored key may sign such a token.
    pub async fn issue(
        &self,
        subject: Subject,
        now: SystemTime,
        valid_for: Duration,
    ) -> Result<IssuedToken, TokenKeysError> {
        let state = self.state.lock().await;
        let usage = match &subject {
            Subject::Dataplane(grant) => KeyUse::dataplanes(grant.mesh.clone()),
            Subject::User(_) => KeyUse::Users,
        };
        let newest = |usage: &KeyUse| {
            let keys = state.stored.keys.values().filter(|key| key.record.usage == *usage);
            keys.max_by_key(|key| key.record.creation_time)
        };
        let of_all = || matches!(usage, KeyUse::Mesh(_)).then(|| newest(&KeyUse::AllMeshes)).flatten();
        let key = newest(&usage).or_else(of_all).ok_or(TokenKeysError::NoKey(usage.clone()))?;
        let claims = Claims::new(subject, now, valid_for);
        let token = issue(&claims, &key.record.id, &key.key)?;
        Ok(IssuedToken { token, id: claims.id })
    }

    /// Stores changes, and makes the verifier of what is stored then.
    async fn commit(&self, state: &mut State, writes: Vec<Write>) -> Result<Vec<Outcome>, StoreError> {
        let committed = self.store.commit(writes).await;
        // Also after an error, because the changes may have been stored.
        match Stored::load(&*self.store).await {
            Ok(stored) => state.stored = stored,
            Err(error) => return Err(committed.err().unwrap_or(error)),
        }
        self.publish(state);
        Ok(committed?.outcomes)
    }

    fn publish(&self, state: &State) {
        self.verifier.send_replace(state.verifier());
    }
}

impl State {
    fn verifier(&self) -> Verifier {
        let mut keys = VerificationKeys::default();
        for key in self.stored.verification_keys().chain(self.trusted.iter().cloned()) {
            // `trust` and `add` have checked that no identifier is used twice.
            let _added = keys.add(key);
        }
        Verifier::new(keys, self.stored.revocations.iter().cloned().collect())
    }

    /// Deletes the revocations of tokens that ended long ago.
    fn expired(&self, now: SystemTime) -> Vec<Write> {
        let ended = |revocation: &&Revocation| {
            now.duration_since(revocation.expires).is_ok_and(|ago| ago > KEPT_AFTER_EXPIRY)
        };
        let delete = |revocation: &Revocation| Write {
            key: key::revoked_token(&revocation.id),
            expected: Expected::Any,
            value: None,
        };
        self.stored.revocations.iter().filter(ended).map(delete).collect()
    }
}

impl Stored {
    fn verification_keys(&self) -> impl Iterator<Item = VerificationKey> {
        self.keys.values().map(|stored| VerificationKey {
            id: stored.record.id.clone(),
            usage: stored.record.usage.clone(),
            key: stored.key.public_key(),
        })
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenKeys {
    /// Without the store, whose values are private keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("state", &self.state).finish_non_exhaustive()
    }
}
