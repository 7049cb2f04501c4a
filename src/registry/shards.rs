//! A hash map in shards, each behind a lock of its own.
//!
//! Unlike a map of keys to values it keeps the key once, inside the value: at a
//! million dataplanes that is 100 bytes for each. And its locks are those of
//! [`crate::runtime::sync`], so that a model checker sees them.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    iter,
};

use hashbrown::{
    HashTable,
    hash_table::{Entry, OccupiedEntry},
};

use crate::runtime::sync::{Mutex, MutexGuard};

/// Many more than cores, so that two callers rarely meet; a power of two.
const SHARDS: usize = 256;
/// Below this many places a shard is not worth shrinking.
const SMALL: usize = 64;

/// A value that knows its key.
pub(super) trait Keyed {
    type Key: Hash + Eq;
    fn key(&self) -> &Self::Key;
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Shards<T> {
    hasher: RandomState,
    shards: Box<[Mutex<HashTable<T>>]>,
}

/// The shard of one key, locked.
pub(super) struct Shard<'a, T> {
    hasher: &'a RandomState,
    hash: u64,
    table: MutexGuard<'a, HashTable<T>>,
}

impl<T: Keyed> Shards<T> {
    pub(super) fn new() -> Self {
        let empty = || Mutex::new(HashTable::new());
        Self { hasher: RandomState::new(), shards: iter::repeat_with(empty).take(SHARDS).collect() }
    }

    /// Locks the shard of a key.
    pub(super) fn lock(&self, key: &T::Key) -> Shard<'_, T> {
        let hash = self.hasher.hash_one(key);
        // The table inside takes its place from the low bits and its tag from
        // the seven highest, so the shard comes from between.
        let at = usize::try_from(hash >> 40).unwrap_or_default() % SHARDS;
        Shard { hasher: &self.hasher, hash, table: self.shards[at].lock() }
    }

    /// Shows all values to `look`, shard by shard; only one is locked at a
    /// time, so what comes and goes meanwhile may be seen or not.
    pub(super) fn for_each(&self, mut look: impl FnMut(&T)) {
        for shard in &self.shards {
            shard.lock().iter().for_each(&mut look);
        }
    }
}

impl<T: Keyed> Shard<'_, T> {
    pub(super) fn get(&self, key: &T::Key) -> Option<&T> {
        self.table.find(self.hash, |value| value.key() == key)
    }

    pub(super) fn get_mut(&mut self, key: &T::Key) -> Option<&mut T> {
        self.table.find_mut(self.hash, |value| value.key() == key)
    }

    /// The value of a key, made if there is none.
    pub(super) fn get_or_insert_with(&mut self, key: &T::Key, make: impl FnOnce() -> T) -> &mut T {
        let hasher = self.hasher;
        let entry =
            self.table.entry(self.hash, |value| value.key() == key, |value| hasher.hash_one(value.key()));
        match entry {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => place.insert(make()).into_mut(),
        }
    }

    /// Takes the value of a key out, if `wanted` says so, and gives memory back
    /// that has not been needed for long.
    pub(super) fn remove_if(&mut self, key: &T::Key, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let found = self.table.find_entry(self.hash, |value| value.key() == key).ok();
        let removed = found.filter(|entry| wanted(entry.get())).map(OccupiedEntry::remove);
        let (value, _vacant) = removed?;
        let (hasher, needed) = (self.hasher, self.table.len());
        if self.table.capacity() > SMALL.max(needed * 8) {
            self.table.shrink_to(needed * 2, |value| hasher.hash_one(value.key()));
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keyed for u32 {
        type Key = Self;
        fn key(&self) -> &Self {
            self
        }
    }

    fn all(shards: &Shards<u32>) -> Vec<u32> {
        let mut all = Vec::new();
        shards.for_each(|value| all.push(*value));
        all.sort_unstable();
        all
    }

    #[test]
    fn what_comes_in_is_found_until_it_goes() {
        let shards = Shards::new();
        for key in 0..10_000 {
            assert!(shards.lock(&key).get(&key).is_none());
            assert_eq!(*shards.lock(&key).get_or_insert_with(&key, || key), key);
        }
        assert_eq!(*shards.lock(&7).get_or_insert_with(&7, || unreachable!("it is there")), 7);
        assert_eq!(all(&shards), (0..10_000).collect::<Vec<_>>());
        assert_eq!(shards.lock(&7).remove_if(&7, |_| false), None);
        assert_eq!(shards.lock(&7).remove_if(&7, |_| true), Some(7));
        assert_eq!(shards.lock(&7).remove_if(&7, |_| unreachable!("it is gone")), None);
    }

    #[test]
    fn a_shard_that_has_emptied_gives_memory_back() {
        let shards = Shards::new();
        let capacity = || shards.shards.iter().map(|shard| shard.lock().capacity()).sum::<usize>();
        for key in 0..100_000 {
            shards.lock(&key).get_or_insert_with(&key, || key);
        }
        let full = capacity();
        for key in 0..100_000 {
            shards.lock(&key).remove_if(&key, |_| true);
        }
        assert!(capacity() < full / 4, "{} of {full}", capacity());
        assert!(all(&shards).is_empty());
    }

    #[test]
    fn keys_spread_over_all_shards() {
        let shards = Shards::new();
        for key in 0..100_000 {
            shards.lock(&key).get_or_insert_with(&key, || key);
        }
        let sizes: Vec<_> = shards.shards.iter().map(|shard| shard.lock().len()).collect();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(*least > 250 && *most < 550, "{least} to {most} of 390 each");
    }
}
