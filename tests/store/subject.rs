//! The stores under test.

use std::sync::Arc;

use bytes::Bytes;
use headcount::store::{DataDir, Expected, MemoryStore, Store, Write};
use tempfile::TempDir;

/// A store under test. It is empty at first.
pub trait Subject {
    fn store(&self) -> Arc<dyn Store>;

    /// Makes the store forget its commits so far, for watches. By default by commits that are
    /// larger than the history.
    async fn compact(&self) {
        let value = Bytes::from(vec![7; 1024 * 1024]);
        for _ in 0..9 {
            let write = put("compaction", value.clone());
            self.store().commit(vec![write]).await.unwrap();
        }
        self.store().commit(vec![delete("compaction")]).await.unwrap();
    }
}

/// A subject that can be closed and opened again.
pub trait Durable: Subject {
    fn reopen(&mut self);
}

pub struct Memory(Arc<MemoryStore>);

impl Memory {
    pub fn new() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }
}

impl Subject for Memory {
    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }
}

/// The registrations of a data directory.
pub struct Directory {
    directory: TempDir,
    /// None while it is reopened.
    data: Option<DataDir>,
}

impl Directory {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = Some(DataDir::open(&directory.path().join("data")).unwrap());
        Self { directory, data }
    }
}

impl Subject for Directory {
    fn store(&self) -> Arc<dyn Store> {
        self.data.as_ref().expect("open").registrations()
    }
}

impl Durable for Directory {
    fn reopen(&mut self) {
        drop(self.data.take());
        self.data = Some(DataDir::open(&self.directory.path().join("data")).unwrap());
    }
}

/// A write without a condition.
pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Write {
    Write { key: key.into(), expected: Expected::Any, value: Some(value.into()) }
}

/// A deletion without a condition.
pub fn delete(key: impl Into<Bytes>) -> Write {
    Write { key: key.into(), expected: Expected::Any, value: None }
}
