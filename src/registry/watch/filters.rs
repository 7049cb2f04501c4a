//! The filters in use: watchers with equal filters share one.

use std::{collections::HashMap, sync::Arc};

use crate::{
    model::Filter,
    registry::shared::Shared,
    runtime::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The filters of all watchers, with the number of watchers of each.
#[derive(Debug, Default)]
pub(crate) struct Filters(Mutex<HashMap<Arc<Filter>, Arc<AtomicUsize>>>);

/// A watcher's filter, counted until this is dropped.
#[derive(Debug)]
pub(super) struct FilterLease {
    shared: Arc<Shared>,
    filter: Arc<Filter>,
    watchers: Arc<AtomicUsize>,
}

impl FilterLease {
    pub(super) fn new(shared: &Arc<Shared>, filter: Filter) -> Self {
        let mut filters = shared.filters.0.lock();
        let known = filters.get_key_value(&filter);
        let known = known.map(|(filter, watchers)| (Arc::clone(filter), Arc::clone(watchers)));
        let (filter, watchers) = known.unwrap_or_else(|| {
            let new = (Arc::new(filter), Arc::default());
            filters.insert(Arc::clone(&new.0), Arc::clone(&new.1));
            new
        });
        watchers.fetch_add(1, Relaxed);
        drop(filters);
        Self { shared: Arc::clone(shared), filter, watchers }
    }

    /// The filter. Watchers with equal filters get the same pointer.
    pub(super) fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// Whether another watcher has the same filter, so that their batches are worth sharing.
    pub(super) fn is_shared(&self) -> bool {
        self.watchers.load(Relaxed) > 1
    }
}

impl Drop for FilterLease {
    fn drop(&mut self) {
        let mut filters = self.shared.filters.0.lock();
        if self.watchers.fetch_sub(1, Relaxed) == 1 {
            filters.remove(&self.filter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegistrySettings;

    #[test]
    fn equal_filters_are_shared_while_they_are_in_use() {
        let shared = Arc::new(Shared::new(RegistrySettings::default()));
        let lease = |selector: &str| {
            let filter = Filter { selector: selector.parse().unwrap(), ..Filter::default() };
            FilterLease::new(&shared, filter)
        };
        let (one, other) = (lease("a=b"), lease("a!=b"));
        assert!(!one.is_shared() && !other.is_shared());
        let equal = lease("a in (b)");
        assert!(Arc::ptr_eq(one.filter(), equal.filter()) && one.is_shared() && !other.is_shared());
        drop(one);
        assert!(!equal.is_shared());
        drop((equal, other));
        assert!(shared.filters.0.lock().is_empty());
    }
}
