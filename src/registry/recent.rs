//! The few things that were made last, for others who need the same.

use std::collections::VecDeque;

use crate::runtime::sync::Mutex;

/// At most `MOST` of them; the oldest makes room.
#[derive(Debug)]
pub(super) struct Recent<T, const MOST: usize>(Mutex<VecDeque<T>>);

impl<T, const MOST: usize> Default for Recent<T, MOST> {
    fn default() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }
}

impl<T: Clone, const MOST: usize> Recent<T, MOST> {
    /// The newest that is wanted.
    pub(super) fn find(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.0.lock().iter().rev().find(|kept| wanted(kept)).cloned()
    }

    pub(super) fn keep(&self, newest: T) {
        let mut kept = self.0.lock();
        let oldest = if kept.len() < MOST { None } else { kept.pop_front() };
        kept.push_back(newest);
        drop(kept);
        // What only it held is given back without the lock.
        drop(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_the_newest_is_found_first() {
        let recent = Recent::<(char, u8), 2>::default();
        for kept in [('a', 1), ('b', 2), ('b', 3)] {
            recent.keep(kept);
        }
        let find = |name| recent.find(|(kept, _)| *kept == name);
        assert_eq!((find('a'), find('b')), (None, Some(('b', 3))));
    }
}
