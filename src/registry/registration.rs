//! A registered dataplane, connected or lost.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    hash::{Hash, Hasher},
    sync::Arc,
    time::SystemTime,
};

use tokio::time::Instant;

use super::{
    admission::{Known, MemoryPermit, Present},
    cell::SessionCell,
    counts::Entry,
};
use crate::{
    model::{Attempt, Dataplane, DataplaneKey},
    runtime::sync::atomic::Ordering::Relaxed,
};

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
    /// When the next change of health may be visible.
    pub(crate) next_change_at: Instant,
    /// The attempt that opened the lost session.
    pub(crate) attempt: Attempt,
    /// When the registration ends.
    pub(crate) deadline: Instant,
    /// It was connected before a restart and is expected back.
    pub(crate) awaited: bool,
    pub(crate) memory: Arc<MemoryPermit>,
}

impl Registration {
    /// What decides about the next hello.
    pub(crate) fn known(&self) -> Known {
        match &self.presence {
            Presence::Connected(cell) => {
                Known { attempt: cell.client().attempt, opened: cell.opened, present: self.present() }
            }
            Presence::Lost(loss) => Known { attempt: loss.attempt, opened: loss.opened, present: None },
        }
    }

    /// The open session, if there is one.
    pub(crate) fn present(&self) -> Option<Present> {
        match &self.presence {
            Presence::Connected(cell) => {
                Some(Present { client: cell.client(), activity: cell.idle.active_at.load(Relaxed) })
            }
            Presence::Lost(_) => None,
        }
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
    /// When the next change of health may be visible.
    pub(crate) fn next_change_at(&self) -> Instant {
        match self {
            Self::Connected(cell) => cell.next_change_at(),
            Self::Lost(loss) => loss.next_change_at,
        }
    }

    /// The memory of the dataplane.
    pub(crate) fn memory(&self) -> &Arc<MemoryPermit> {
        match self {
            Self::Connected(cell) => &cell.memory,
            Self::Lost(loss) => &loss.memory,
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
