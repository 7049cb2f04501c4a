//! Watches: cursors into the change log, and the deltas that their readers share.
//!
//! ```text
//! Watcher (cursor) ─► BatchCache ─► conflate (pure) ─► ConflatedRange ─► DeltaBatch
//!    │                   │                                  │               │
//!    └ Source: what      │              readers at one position share it    └ and those with one
//!      wakes it          └ reads the log                                      filter share this
//! ```

mod batch;
mod cache;
mod conflate;
mod filters;
mod source;
mod watcher;

pub use self::{
    batch::{Delta, DeltaBatch, Encoding},
    watcher::{Position, WatchPermit, Watcher},
};
pub(crate) use self::{cache::BatchCache, filters::Filters};
