//! A small cache of the values that were made last.

use std::collections::VecDeque;

use crate::runtime::sync::Mutex;

/// Caches at most `CAPACITY` values; a new one replaces the oldest.
#[derive(Debug)]
pub(crate) struct RecentCache<T, const CAPACITY: usize>(Mutex<VecDeque<T>>);

impl<T, const CAPACITY: usize> Default for RecentCache<T, CAPACITY> {
    fn default() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }
}

impl<T: Clone, const CAPACITY: usize> RecentCache<T, CAPACITY> {
    /// The latest value that matches.
    pub(crate) fn find(&self, matches: impl Fn(&T) -> bool) -> Option<T> {
        self.0.lock().iter().rev().find(|value| matches(value)).cloned()
    }

    pub(crate) fn insert(&self, value: T) {
        let mut cached = self.0.lock();
        let oldest = if cached.len() < CAPACITY { None } else { cached.pop_front() };
        cached.push_back(value);
        // A large value is freed after the lock is released.
        drop(cached);
        drop(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_replaces_the_oldest_and_is_found_first() {
        let cache = RecentCache::<(char, u8), 2>::default();
        for value in [('a', 1), ('b', 2), ('b', 3)] {
            cache.insert(value);
        }
        let find = |wanted| cache.find(|(name, _)| *name == wanted);
        assert_eq!((find('a'), find('b')), (None, Some(('b', 3))));
    }
}
