//! Watches: cursors into the change log, and the deltas that their readers share.
//!
//! ```text
//! Watcher (cursor) ─► BatchCache ─► conflate (pure) ─► PendingDeltas ─► DeltaBatch
//!                        │                                                 │
//!                        └ readers with one filter and one position share a batch and its encodings
//! ```

mod batch;
mod cache;
mod conflate;
mod watcher;

pub(crate) use self::cache::BatchCache;
pub use self::{
    batch::{Delta, DeltaBatch, Encoding},
    watcher::{Position, WatchPermit, Watcher},
};
