//! What wakes a watcher: every change, or only those of the name that it watches.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    model::{ExactName, Filter},
    registry::shared::Shared,
};

/// The changes that wake a watcher.
#[derive(Debug)]
pub(super) enum Source {
    /// Every change.
    All {
        /// The revision up to which watchers may read.
        announced: watch::Receiver<u64>,
        /// The announced revision when [`mark_seen`](Self::mark_seen) was called last.
        until: u64,
    },
    /// The changes of one name.
    Name(NameSubscription),
}

/// A subscription to the changes of a name, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct NameSubscription {
    shared: Arc<Shared>,
    pub(super) name: ExactName,
    changed: watch::Receiver<()>,
}

impl Source {
    /// Subscribes to the changes that can match a filter.
    pub(super) fn subscribe(shared: &Arc<Shared>, filter: &Filter) -> Self {
        match filter.exact_name() {
            None => {
                let announced = shared.log.subscribe();
                let until = *announced.borrow();
                Self::All { announced, until }
            }
            Some(name) => {
                let changed = shared.log.subscribe_name(&name);
                Self::Name(NameSubscription { shared: Arc::clone(shared), name, changed })
            }
        }
    }

    /// To be called before changes are read, so that a later one wakes the watcher.
    pub(super) fn mark_seen(&mut self) {
        match self {
            Self::All { announced, until } => *until = *announced.borrow_and_update(),
            Self::Name(subscription) => subscription.changed.mark_unchanged(),
        }
    }

    /// Waits for a change that [`mark_seen`](Self::mark_seen) has not marked.
    pub(super) async fn changed(&mut self) {
        // They fail only after the registry is dropped, which the watcher holds.
        let _changed = match self {
            Self::All { announced, .. } => announced.changed().await,
            Self::Name(subscription) => subscription.changed.changed().await,
        };
    }
}

impl Drop for NameSubscription {
    fn drop(&mut self) {
        self.shared.log.unsubscribe_name(&self.name);
    }
}
