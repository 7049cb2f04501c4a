//! A store in one file, on redb.
//!
//! ```text
//!  EmbeddedStore   one commit at a time, on a thread for blocking work
//!    Disk          transactions; closes and opens the database after an error
//!      open        checks a file before anything is written to it
//!      held_back   the storage that makes this possible
//!      format      the tables and their values
//!      compression of values
//! ```

mod compression;
mod disk;
mod format;
mod held_back;
mod open;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use self::disk::Disk;
pub(super) use self::{
    disk::Location,
    format::Kind,
    held_back::HeldBack,
    open::{Access, OpenError, create},
};
use super::{Committed, Loaded, Store, StoreError, Watch, Write, batch, history};
use crate::runtime::blocking::spawn_blocking;

/// A store in one file. The file is closed when the store is dropped.
#[derive(Debug)]
pub(super) struct EmbeddedStore {
    disk: Arc<Disk>,
    /// Held by the commit in progress, so that waiting commits take no thread.
    turn: Arc<Mutex<()>>,
}

impl EmbeddedStore {
    /// Opens the file at `location`. `name` names it in errors. Writes nothing before the
    /// second value is released, which it must be if the access is [`Access::Write`].
    ///
    /// # Errors
    ///
    /// If it can't be opened.
    pub(super) fn open(
        name: String,
        location: Box<dyn Location>,
        kind: Kind,
        access: Access,
    ) -> Result<(Self, HeldBack), OpenError> {
        let (disk, held) = Disk::open(name, location, kind, access, history::MOST_BYTES)?;
        Ok((Self { disk: Arc::new(disk), turn: Arc::default() }, held))
    }

    /// As the method of [`Store`], without a runtime.
    pub(super) fn load_now(&self, prefix: &[u8]) -> Result<Loaded, StoreError> {
        self.disk.load(prefix)
    }
}

impl Store for EmbeddedStore {
    fn load<'a>(&'a self, prefix: &'a [u8]) -> BoxFuture<'a, Result<Loaded, StoreError>> {
        let (disk, prefix) = (self.disk.clone(), prefix.to_vec());
        Box::pin(async move {
            spawn_blocking(move || disk.load(&prefix)).await.unwrap_or_else(|| Err(shutting_down()))
        })
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        Box::pin(async move {
            batch::check(&writes)?;
            let (disk, turn) = (self.disk.clone(), self.turn.clone().lock_owned().await);
            let commit = move || {
                // Until the end of the commit, even if its caller is dropped.
                let _turn = turn;
                disk.commit(writes)
            };
            spawn_blocking(commit).await.unwrap_or_else(|| Err(shutting_down()))
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let disk = self.disk.clone();
        Box::pin(
            async move { spawn_blocking(move || disk.check()).await.unwrap_or_else(|| Err(shutting_down())) },
        )
    }

    fn watch(&self, prefix: &[u8], after: u64) -> Watch {
        self.disk.watch(prefix, after)
    }
}

fn shutting_down() -> StoreError {
    StoreError::Unavailable("the process is shutting down".to_owned())
}
