//! The sharded map of workload entries.
//!
//! An entry lives while it has members. Sessions hold the entry they are
//! counted in, so a health flip locks that entry and looks nothing up. Locks
//! are taken in the order dataplane -> entry -> shard of this map -> change
//! log; a shard is never held while an entry is being locked.

use std::sync::Arc;

use super::{
    members::{Members, Place},
    shards::{Keyed, Shards},
};
use crate::runtime::sync::{Mutex, MutexGuard};

/// One workload name's members behind a lock.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Entry {
    // What a health flip touches comes first, and lies together.
    state: Mutex<State>,
    place: Place,
}

#[derive(Debug)]
#[repr(C)]
struct State {
    /// No longer in the map: whoever finds it so must look again.
    retired: bool,
    members: Members,
}

#[derive(Debug)]
pub(super) struct Entries {
    map: Shards<Arc<Entry>>,
}

impl Keyed for Arc<Entry> {
    type Key = Place;
    fn key(&self) -> &Place {
        &self.place
    }
}

/// An entry, locked. Dropping it takes an entry without members off the map.
pub(super) struct Locked<'a> {
    entries: &'a Entries,
    entry: &'a Arc<Entry>,
    state: MutexGuard<'a, State>,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self { map: Shards::new() }
    }

    /// The entry of a place, for readers: never creates one.
    pub(super) fn get(&self, place: &Place) -> Option<Arc<Entry>> {
        self.map.lock(place).get(place).cloned()
    }

    /// All entries. Only one shard at a time is locked, and none while the
    /// caller looks at them.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        let mut all = Vec::new();
        self.map.for_each(|entry| all.push(Arc::clone(entry)));
        all
    }

    /// The entry of a place, for whoever is about to become a member.
    pub(super) fn get_or_create(&self, place: &Place) -> Arc<Entry> {
        let create = || {
            let state = State { members: Members::new(place), retired: false };
            Arc::new(Entry { place: place.clone(), state: Mutex::new(state) })
        };
        Arc::clone(self.map.lock(place).get_or_insert_with(place, create))
    }

    /// Locks an entry to change it; none if it was retired meanwhile.
    pub(super) fn lock<'a>(&'a self, entry: &'a Arc<Entry>) -> Option<Locked<'a>> {
        let state = entry.state.lock();
        (!state.retired).then(|| Locked { entries: self, entry, state })
    }

    /// Locks two different entries, in an order that all agree on.
    pub(super) fn lock_both<'a>(
        &'a self,
        one: &'a Arc<Entry>,
        other: &'a Arc<Entry>,
    ) -> Option<(Locked<'a>, Locked<'a>)> {
        if one.place < other.place {
            let one = self.lock(one)?;
            Some((one, self.lock(other)?))
        } else {
            let other = self.lock(other)?;
            Some((self.lock(one)?, other))
        }
    }
}

impl Entry {
    /// Looks at the members; `look` must be short and may lock nothing but the
    /// change log.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Members) -> T) -> T {
        look(&self.state.lock().members)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl Locked<'_> {
    pub(super) fn members(&mut self) -> &mut Members {
        &mut self.state.members
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if self.state.members.is_empty() {
            self.state.retired = true;
            let place = &self.entry.place;
            self.entries.map.lock(place).remove_if(place, |entry| Arc::ptr_eq(entry, self.entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Namespace;

    fn place(namespace: &str) -> Place {
        Place { namespace: Namespace::parse("", namespace).unwrap(), workload: None }
    }

    #[test]
    fn an_entry_without_members_goes_and_who_holds_it_learns() {
        let entries = Entries::new();
        let entry = entries.get_or_create(&place("a"));
        assert!(Arc::ptr_eq(&entry, &entries.get_or_create(&place("a"))));
        drop(entries.lock(&entry).unwrap());
        assert!(entries.get(&place("a")).is_none());
        assert!(entries.lock(&entry).is_none());
        assert!(!Arc::ptr_eq(&entry, &entries.get_or_create(&place("a"))));
    }

    #[test]
    fn a_lookup_creates_nothing() {
        let entries = Entries::new();
        assert!(entries.get(&place("a")).is_none());
        assert!(entries.all().is_empty());
    }

    #[test]
    fn two_are_locked_whatever_their_order() {
        for (one, other) in [("a", "b"), ("b", "a")] {
            let entries = Entries::new();
            let (one, other) = (entries.get_or_create(&place(one)), entries.get_or_create(&place(other)));
            let (first, second) = entries.lock_both(&one, &other).unwrap();
            assert!(Arc::ptr_eq(first.entry, &one) && Arc::ptr_eq(second.entry, &other));
        }
    }
}
