//! A store on a simulated disk: every rule is checked without a file system, with faults that a
//! real one has rarely.

mod crashes;
mod faults;
mod formats;
mod growth;
mod held_back;
mod simulated_disk;

use bytes::Bytes;
use futures_util::FutureExt as _;

use self::simulated_disk::{Fault, SimulatedDisk};
use super::{Access, EmbeddedStore, Kind, OpenError, create};
use crate::store::{Committed, Expected, Loaded, Store as _, StoreError, Write};

fn new_disk(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    create(disk.storage(), Kind::Resources).unwrap();
    disk
}

fn open(disk: &SimulatedDisk) -> Result<EmbeddedStore, OpenError> {
    let name = "resources.redb".to_owned();
    let (store, held) = EmbeddedStore::open(name, Box::new(disk.clone()), Kind::Resources, Access::Write)?;
    held.release()?;
    Ok(store)
}

/// Outside a runtime a commit runs in place.
fn commit(store: &EmbeddedStore, writes: Vec<Write>) -> Result<Committed, StoreError> {
    store.commit(writes).now_or_never().expect("it runs in place")
}

fn load(store: &EmbeddedStore) -> Result<Loaded, StoreError> {
    store.load_now(b"")
}

fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Write {
    Write { key: key.into(), expected: Expected::Any, value: Some(value.into()) }
}
