//! What a commit does to the entries, for every store that has them at hand.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Change, Expected, Item, Outcome, StoreError, Write};

/// The revisions of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// Of the commit that wrote the value.
    pub(super) revision: u64,
    /// Of the commit that created the key.
    pub(super) created: u64,
}

/// The entries that a commit reads and changes.
pub(super) trait Entries {
    type Error;
    /// The revisions of an entry; none if it is absent.
    fn version(&mut self, key: &[u8]) -> Result<Option<Version>, Self::Error>;
    fn put(&mut self, item: &Item) -> Result<(), Self::Error>;
    fn delete(&mut self, key: &[u8]) -> Result<(), Self::Error>;
}

/// What a commit did.
#[derive(Debug)]
pub(super) struct Applied {
    /// In the order of the writes.
    pub(super) outcomes: Vec<Outcome>,
    /// Empty if the commit changed nothing; it then takes no revision.
    pub(super) changes: Vec<Change>,
}

/// Rejects writes in which a key occurs twice.
pub(super) fn check(writes: &[Write]) -> Result<(), StoreError> {
    let mut keys = HashSet::with_capacity(writes.len());
    match writes.iter().find(|write| !keys.insert(&write.key)) {
        None => Ok(()),
        Some(write) => {
            let key = write.key.escape_ascii();
            Err(StoreError::Invalid(format!("a commit writes the key {key} twice")))
        }
    }
}

/// Applies the writes whose condition is true, as the commit with this revision.
pub(super) fn apply<E: Entries>(
    entries: &mut E,
    writes: Vec<Write>,
    revision: u64,
) -> Result<Applied, E::Error> {
    let mut applied = Applied { outcomes: Vec::with_capacity(writes.len()), changes: Vec::new() };
    for Write { key, expected, value } in writes {
        let present = entries.version(&key)?;
        if !holds(expected, present) {
            applied.outcomes.push(Outcome::Conflict(present.map(|version| version.revision)));
            continue;
        }
        applied.outcomes.push(Outcome::Applied);
        if let Some(change) = change(key, value, present, revision) {
            match &change {
                Change::Put(item) => entries.put(item)?,
                Change::Delete { key, .. } => entries.delete(key)?,
            }
            applied.changes.push(change);
        }
    }
    Ok(applied)
}

fn holds(expected: Expected, present: Option<Version>) -> bool {
    match expected {
        Expected::Any => true,
        Expected::Absent => present.is_none(),
        Expected::Revision(revision) => present.is_some_and(|version| version.revision == revision),
    }
}

/// The change that a write makes; none if it deletes an absent key.
fn change(key: Bytes, value: Option<Bytes>, present: Option<Version>, revision: u64) -> Option<Change> {
    match value {
        Some(value) => {
            let created = present.map_or(revision, |version| version.created);
            Some(Change::Put(Item { key, value, revision, created }))
        }
        None => present.map(|_| Change::Delete { key, revision }),
    }
}
