//! A store in memory: its contents end with the process.

use std::{collections::BTreeMap, convert::Infallible, ops::Bound};

use bytes::Bytes;
use futures_util::future::{self, BoxFuture};
use parking_lot::Mutex;

use super::{
    Committed, Item, Loaded, Store, StoreError, Watch, Write,
    batch::{self, Entries, Version},
    history::{self, History},
};

/// A store that is not durable, for tests. A server without a data directory has no store.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    history: History,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    items: BTreeMap<Bytes, Item>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_history(history::MOST_BYTES)
    }

    /// An empty store whose watches can read at least the latest commit, and at most this many
    /// bytes of commits.
    pub fn with_history(most_bytes: usize) -> Self {
        Self { state: Mutex::default(), history: History::new(0, most_bytes) }
    }

    fn apply(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        batch::check(&writes)?;
        let mut state = self.state.lock();
        let revision = state.revision + 1;
        let Ok(applied) = batch::apply(&mut state.items, writes, revision);
        if !applied.changes.is_empty() {
            state.revision = revision;
            // Still under the lock, so that commits are published in the order of their revisions.
            self.history.publish(revision, applied.changes);
        }
        Ok(Committed { revision: state.revision, outcomes: applied.outcomes })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn load<'a>(&'a self, prefix: &'a [u8]) -> BoxFuture<'a, Result<Loaded, StoreError>> {
        let state = self.state.lock();
        let from = state.items.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        let items = from.map(|(_, item)| item).take_while(|item| item.key.starts_with(prefix));
        let loaded = Loaded { revision: state.revision, items: items.cloned().collect() };
        Box::pin(future::ready(Ok(loaded)))
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move { self.apply(writes) })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(future::ready(Ok(())))
    }

    fn watch(&self, prefix: &[u8], after: u64) -> Watch {
        self.history.watch(prefix, after)
    }
}

impl Entries for BTreeMap<Bytes, Item> {
    type Error = Infallible;

    fn version(&mut self, key: &[u8]) -> Result<Option<Version>, Infallible> {
        Ok(self.get(key).map(|item| Version { revision: item.revision, created: item.created }))
    }

    fn put(&mut self, item: &Item) -> Result<(), Infallible> {
        self.insert(item.key.clone(), item.clone());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Infallible> {
        self.remove(key);
        Ok(())
    }
}
