//! What both sharded maps have in common.

use std::hash::Hash;

use dashmap::DashMap;

/// Many more shards than cores, so that two callers rarely meet; a power of two.
pub(crate) const SHARDS: usize = 256;
/// Below this number of places per shard, shrinking gains nothing.
const MIN_PLACES: usize = 64;

/// Gives memory back if three quarters of the map's places are empty. Each shard is
/// locked while it moves; at 4,000 values per shard that takes about 100 microseconds.
pub(crate) fn shrink_sparse<K: Eq + Hash, V>(map: &DashMap<K, V>) {
    if map.capacity() > (4 * map.len()).max(MIN_PLACES * SHARDS) {
        map.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_has_emptied_gives_memory_back() {
        let map = DashMap::with_shard_amount(SHARDS);
        for n in 0..100_000 {
            map.insert(n, ());
        }
        let full = map.capacity();
        shrink_sparse(&map);
        assert_eq!(map.capacity(), full, "nothing to gain yet");
        map.retain(|n, ()| *n < 1_000);
        shrink_sparse(&map);
        assert!(map.capacity() < full / 8 && map.len() == 1_000, "{} of {full}", map.capacity());
    }
}
