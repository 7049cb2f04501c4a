//! Deadlines of sessions and registrations: an ordered set and one timer for each kind.

mod idle;
mod retention;

pub use self::idle::IdlePolicy;
pub(crate) use self::{idle::IdleTracker, retention::Retention};
