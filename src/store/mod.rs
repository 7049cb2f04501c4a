//! Durable state: a map from keys to values, with revisions.
//!
//! ```text
//!  persistence (registrations, revisions)   backup
//!        │ load, commit, watch
//!        ▼
//!     Store ◄── memory        tests
//!           ◄── embedded      one file of --data-dir
//!                  ▲
//!              data_dir       the directory: its lock, its files, what is wrong with them
//! ```
//!
//! A store knows bytes only; `convert::record` has the messages. Keys are paths such as
//! `dataplanes/default/shop/web-1`, so that a prefix selects all records of a kind.

pub mod backup;
mod batch;
mod data_dir;
mod embedded;
mod history;
pub mod key;
mod memory;
mod problem;

pub use data_dir::{Contents, DataDir, DataDirError, FileReport, verify};
pub use memory::MemoryStore;
pub use problem::of_io as explain;

use std::{fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::Stream};

/// One entry of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision of the commit that wrote this value.
    pub revision: u64,
    /// The revision of the commit that created the key, since it was last absent.
    pub created: u64,
}

/// The entries under a prefix, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The revision; a watch that begins after it misses nothing.
    pub revision: u64,
    /// In the order of their keys.
    pub items: Vec<Item>,
}

/// What must be true of a key for a write to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the write is always applied.
    Any,
    /// The key is absent.
    Absent,
    /// The value was written at this revision.
    Revision(u64),
}

/// A compare-and-set of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// The condition.
    pub expected: Expected,
    /// The new value; none deletes the key.
    pub value: Option<Bytes>,
}

/// What became of a [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied.
    Applied,
    /// Its condition was false, so it changed nothing. Has the revision of the present value;
    /// none if the key is absent.
    Conflict(Option<u64>),
}

/// A commit that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The revision of the commit. If no write was applied, the latest revision.
    pub revision: u64,
    /// The outcomes, in the order of the writes.
    pub outcomes: Vec<Outcome>,
}

/// A key that a commit has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Put(Item),
    /// The key was deleted.
    Delete {
        /// The key.
        key: Bytes,
        /// The revision of the commit that deleted it.
        revision: u64,
    },
}

impl Change {
    /// The key that was changed.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(item) => &item.key,
            Self::Delete { key, .. } => key,
        }
    }
}

/// The changes under a prefix, one item for each commit. It ends after an error.
pub type Watch = Pin<Box<dyn Stream<Item = Result<Vec<Change>, WatchError>> + Send>>;

/// A durable map with revisions. Revisions only grow, over restarts too; all writes of a commit
/// have the same one.
pub trait Store: fmt::Debug + Send + Sync {
    /// Returns the entries whose keys begin with `prefix`.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    fn load<'a>(&'a self, prefix: &'a [u8]) -> BoxFuture<'a, Result<Loaded, StoreError>>;

    /// Applies those writes whose condition is true, and returns when they are durable. A crash
    /// before that leaves all of them or none. A commit that is dropped before it returns may
    /// still be applied. The deletion of an absent key changes nothing.
    ///
    /// # Errors
    ///
    /// If the writes are not durable; after [`StoreError::Unknown`] they may be.
    /// [`StoreError::Invalid`] if a key occurs twice.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>>;

    /// Checks that a later process would find what is committed: that nobody has removed or
    /// replaced the files. A commit checks it too.
    ///
    /// # Errors
    ///
    /// If it would not, or if that can't be determined.
    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Watches the keys that begin with `prefix`, from the first commit after a revision. The
    /// watch ends when the store is dropped. A watch that is read too slowly fails, so that it
    /// takes no memory.
    fn watch(&self, prefix: &[u8], after: u64) -> Watch;
}

/// The stores of a server.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Registrations and Workloads: large, and rebuilt when the proxies come back.
    pub registrations: Arc<dyn Store>,
    /// All else: small, and can't be rebuilt.
    pub resources: Arc<dyn Store>,
}

/// Why a store could not be read or written. The text names the cause and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written; a later attempt may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Whether the commit was applied is unknown: read the keys to find out.
    #[error("{0}")]
    Unknown(String),
    /// The stored data can't be read, so an attempt will not succeed again.
    #[error("{0}")]
    Damaged(String),
    /// The request breaks a rule of the store, so it will fail again. Nothing was written.
    #[error("{0}")]
    Invalid(String),
}

/// Why a watch ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The store no longer has the changes after this revision: load the prefix again.
    #[error("the changes after revision {0} are no longer available")]
    Compacted(u64),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
