//! The change log: revisions, and a bounded memory of what changed.
//!
//! Each visible change gets the next revision and one place in a ring. A watcher is a
//! cursor into the ring, so a writer does the same small work for no watcher and for a
//! hundred thousand, and a slow reader needs no queue. A reader that falls out of the
//! ring starts over with a snapshot.

mod change;
mod change_log;
mod names;
mod notifier;
mod read_view;
mod ring;

pub(crate) use self::{
    change::{Change, Draft, Published},
    change_log::{ChangeLog, NameChanges},
    read_view::ReadView,
};
