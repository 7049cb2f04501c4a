//! A registered dataplane, connected or lost.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    hash::{Hash, Hasher},
    sync::Arc,
    time::SystemTime,
};

use tokio::time::Instant;

use super::{cell::SessionCell, counts::Entry};
use crate::model::{Attempt, Dataplane, DataplaneKey};

/// A dataplane that is compared by its key. As the key of a map it holds the dataplane as
/// well, so that the [`DataplaneKey`] is in memory once.
#[derive(Debug, Clone)]
pub(crate) struct ByKey(pub(crate) Arc<Dataplane>);

impl Borrow<DataplaneKey> for ByKey {
    fn borrow(&self) -> &DataplaneKey {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

/// The state of a registered dataplane. A million of them are in memory: 32 bytes each with
/// the map's key.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The entry that counts it.
    pub(crate) entry: Arc<Entry>,
    pub(crate) presence: Presence,
}

#[derive(Debug)]
pub(crate) enum Presence {
    Connected(Arc<SessionCell>),
    /// The session ended without a goodbye. Boxed because few dataplanes are lost at
    /// a time.
    Lost(Box<Loss>),
}

#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) since: SystemTime,
    /// When the lost session began.
    pub(crate) opened: Instant,
    /// The attempt that opened the lost session.
    pub(crate) attempt: Attempt,
    /// When the registration ends.
    pub(crate) deadline: Instant,
}

impl Registration {
    /// Whether its latest session, open or lost, is of the same agent as `attempt` and was
    /// begun later.
    pub(crate) fn is_newer_than(&self, attempt: Attempt) -> bool {
        attempt.is_before(match &self.presence {
            Presence::Connected(current) => current.attempt,
            Presence::Lost(loss) => loss.attempt,
        })
    }

    /// Whether this session is the current one.
    pub(crate) fn has(&self, cell: &Arc<SessionCell>) -> bool {
        matches!(&self.presence, Presence::Connected(current) if Arc::ptr_eq(current, cell))
    }

    /// Whether it was lost and its retention ends at `deadline`.
    pub(crate) fn is_lost_until(&self, deadline: Instant) -> bool {
        matches!(&self.presence, Presence::Lost(loss) if loss.deadline == deadline)
    }
}

impl Presence {
    /// When the latest session began.
    pub(crate) fn opened(&self) -> Instant {
        match self {
            Self::Connected(cell) => cell.opened,
            Self::Lost(loss) => loss.opened,
        }
    }

    /// Ends the session, if there is one, and returns what it contributed to
    /// `connected` and `healthy`. Requires the entry's lock.
    pub(crate) fn end(&self) -> (i32, i32) {
        match self {
            Self::Connected(cell) => (1, cell.end().into()),
            Self::Lost(_) => (0, 0),
        }
    }
}
