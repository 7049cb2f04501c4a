//! Counting: the members of one workload name, and the map of all of them.

mod entry;
mod members;
mod traits;

pub(crate) use self::{
    entry::{Entries, Entry, LockedEntry},
    members::{Conflict, CountChange, EntryKey, Members},
};
