//! The sharded map of entries, one for each workload name.
//!
//! An entry exists while it has members. A session holds the entry that counts it, so
//! a health flip locks that entry and looks nothing up. The lock order is dataplane,
//! entry, shard of this map, change log; no shard is held while an entry is locked.

use std::sync::Arc;

use dashmap::DashMap;

use super::{EntryKey, Members};
use crate::{
    registry::shards::{SHARDS, shrink_sparse},
    runtime::sync::{Mutex, MutexGuard},
};

/// The members of one workload name behind a lock.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry {
    // A health flip touches the first fields only.
    state: Mutex<State>,
    key: EntryKey,
}

#[derive(Debug)]
#[repr(C)]
struct State {
    /// No longer in the map. A caller that locks a retired entry looks it up again.
    retired: bool,
    members: Members,
}

/// All entries.
#[derive(Debug)]
pub(crate) struct Entries {
    map: DashMap<EntryKey, Arc<Entry>>,
}

/// A locked entry. Dropping it removes an entry without members from the map.
pub(crate) struct LockedEntry<'a> {
    entries: &'a Entries,
    entry: &'a Arc<Entry>,
    state: MutexGuard<'a, State>,
}

impl Entries {
    pub(crate) fn new() -> Self {
        Self { map: DashMap::with_shard_amount(SHARDS) }
    }

    /// The entry of a key, if it exists.
    pub(crate) fn get(&self, key: &EntryKey) -> Option<Arc<Entry>> {
        self.map.get(key).map(|entry| Arc::clone(&entry))
    }

    /// All entries. One shard is locked at a time, and none while the caller reads the
    /// entries.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.map.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// The entry of a key, for a dataplane that is about to become a member.
    pub(crate) fn get_or_create(&self, key: &EntryKey) -> Arc<Entry> {
        if let Some(entry) = self.get(key) {
            return entry;
        }
        let create = || {
            let state = State { retired: false, members: Members::new(key) };
            Arc::new(Entry { state: Mutex::new(state), key: key.clone() })
        };
        Arc::clone(&self.map.entry(key.clone()).or_insert_with(create))
    }

    /// Locks an entry for a change; none if it was retired meanwhile.
    pub(crate) fn lock<'a>(&'a self, entry: &'a Arc<Entry>) -> Option<LockedEntry<'a>> {
        let state = entry.state.lock();
        (!state.retired).then(|| LockedEntry { entries: self, entry, state })
    }

    /// Locks two different entries in the order of their keys; none if one of them was
    /// retired meanwhile.
    pub(crate) fn lock_both<'a>(
        &'a self,
        one: &'a Arc<Entry>,
        other: &'a Arc<Entry>,
    ) -> Option<(LockedEntry<'a>, LockedEntry<'a>)> {
        if one.key < other.key {
            let one = self.lock(one)?;
            Some((one, self.lock(other)?))
        } else {
            let other = self.lock(other)?;
            Some((self.lock(one)?, other))
        }
    }

    /// Gives memory back after many entries have been removed.
    pub(crate) fn shrink(&self) {
        shrink_sparse(&self.map);
    }
}

impl Entry {
    /// Reads the members. `read` must be short and may lock nothing but the change log.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Members) -> T) -> T {
        read(&self.state.lock().members)
    }

    pub(crate) fn key(&self) -> &EntryKey {
        &self.key
    }
}

impl LockedEntry<'_> {
    pub(crate) fn members(&mut self) -> &mut Members {
        &mut self.state.members
    }
}

impl Drop for LockedEntry<'_> {
    fn drop(&mut self) {
        if self.state.members.is_empty() {
            self.state.retired = true;
            self.entries.map.remove_if(&self.entry.key, |_, entry| Arc::ptr_eq(entry, self.entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Namespace;

    fn key(namespace: &str) -> EntryKey {
        EntryKey { namespace: Namespace::parse("", namespace).unwrap(), workload: None }
    }

    #[test]
    fn an_entry_without_members_is_removed_and_retired() {
        let entries = Entries::new();
        let entry = entries.get_or_create(&key("a"));
        assert!(Arc::ptr_eq(&entry, &entries.get_or_create(&key("a"))));
        drop(entries.lock(&entry).unwrap());
        assert!(entries.get(&key("a")).is_none());
        assert!(entries.lock(&entry).is_none());
        assert!(!Arc::ptr_eq(&entry, &entries.get_or_create(&key("a"))));
    }

    #[test]
    fn a_lookup_creates_no_entry() {
        let entries = Entries::new();
        assert!(entries.get(&key("a")).is_none());
        assert!(entries.all().is_empty());
    }

    #[test]
    fn two_entries_are_locked_in_either_order() {
        for (one, other) in [("a", "b"), ("b", "a")] {
            let entries = Entries::new();
            let (one, other) = (entries.get_or_create(&key(one)), entries.get_or_create(&key(other)));
            let (first, second) = entries.lock_both(&one, &other).unwrap();
            assert!(Arc::ptr_eq(first.entry, &one) && Arc::ptr_eq(second.entry, &other));
        }
    }
}
