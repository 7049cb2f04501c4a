//! The keys that tokens are verified with.

use std::collections::HashMap;

use super::PublicKey;
use crate::model::{KeyId, KeyUse};

/// A key that verifies tokens of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationKey {
    /// Its identifier, unique among the keys of the same use.
    pub id: KeyId,
    /// What it may have signed.
    pub usage: KeyUse,
    /// The key.
    pub key: PublicKey,
}

/// Keys by use and identifier.
#[derive(Debug, Clone, Default)]
pub struct VerificationKeys(HashMap<KeyUse, HashMap<KeyId, PublicKey>>);

impl VerificationKeys {
    /// Adds a key. Returns whether it was added: the identifier may be in use.
    #[must_use]
    pub fn add(&mut self, key: VerificationKey) -> bool {
        let keys = self.0.entry(key.usage).or_default();
        match keys.entry(key.id) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(key.key);
                true
            }
        }
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that a token with these claims and this key identifier may be signed with: at most
    /// one of its mesh, and one of all meshes.
    pub(super) fn candidates<'a>(
        &'a self,
        usage: &'a KeyUse,
        id: &'a KeyId,
    ) -> impl Iterator<Item = (&'a KeyUse, &'a PublicKey)> {
        let general = matches!(usage, KeyUse::Mesh(_)).then_some(&KeyUse::AllMeshes);
        let uses = std::iter::once(usage).chain(general);
        uses.filter_map(move |usage| Some((usage, self.0.get(usage)?.get(id)?)))
    }
}
