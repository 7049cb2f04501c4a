//! The disk of the server: what is on it survives a crash of the server's host. A commit takes time,
//! and whether one that a crash interrupts is on the disk is random.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use futures_util::future::BoxFuture;
use headcount::store::{Committed, Loaded, MemoryStore, Store, StoreError, Stores, Watch, Write};
use tokio::time::sleep;

/// Longest time until a commit is durable.
const LONGEST_COMMIT: Duration = Duration::from_millis(20);
/// Changes that are older than this when the server's host crashes are on the disk: two batches, the time
/// that the first one takes, and the message of the agent that caused the change.
pub const DURABLE_WITHIN: Duration = Duration::from_millis(150);

#[derive(Debug)]
struct Disk {
    files: MemoryStore,
    random: std::sync::Mutex<Rng>,
}

/// An empty disk.
pub fn empty(random: &mut Rng) -> Stores {
    let mut disk = || -> Arc<dyn Store> {
        Arc::new(Disk { files: MemoryStore::new(), random: std::sync::Mutex::new(random.fork()) })
    };
    Stores { registrations: disk(), resources: disk() }
}

impl Store for Disk {
    fn load<'a>(&'a self, prefix: &'a [u8]) -> BoxFuture<'a, Result<Loaded, StoreError>> {
        self.files.load(prefix)
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        let (takes, early) = {
            let mut random = self.random.lock().expect("no panic while it is locked");
            (LONGEST_COMMIT.mul_f64(random.f64()), random.bool())
        };
        Box::pin(async move {
            if early {
                let committed = self.files.commit(writes).await;
                sleep(takes).await;
                return committed;
            }
            sleep(takes).await;
            self.files.commit(writes).await
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.files.check()
    }

    fn watch(&self, prefix: &[u8], after: u64) -> Watch {
        self.files.watch(prefix, after)
    }
}
