//! A backup of both stores, chunk by chunk.

use std::{mem, time::SystemTime, vec};

use bytes::Bytes;

use super::{encode::Encoder, error::BackupError, line::Place};
use crate::store::{Item, Store, StoreError, Stores};

/// The largest chunk, in bytes.
pub const CHUNK_BYTES: usize = 64 << 10;

/// The chunks of a backup. Each store is read at one revision, and all its entries are in memory
/// until they are encoded.
#[derive(Debug)]
pub struct Chunks {
    /// The stores that are not loaded yet, in the order of a backup.
    stores: vec::IntoIter<(Place, std::sync::Arc<dyn Store>)>,
    place: Place,
    items: vec::IntoIter<Item>,
    /// None after the trailer.
    encoder: Option<Encoder>,
    buffer: Vec<u8>,
}

/// Why a backup could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// A store can't be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An entry can't be written.
    #[error("{0}")]
    Entry(#[from] BackupError),
}

impl Chunks {
    /// Begins a backup that is made at this time.
    pub fn new(stores: &Stores, created: SystemTime) -> Self {
        let stores = vec![
            (Place::Resources, stores.resources.clone()),
            (Place::Registrations, stores.registrations.clone()),
        ];
        let mut buffer = Vec::new();
        let encoder = Some(Encoder::begin(created, &mut buffer));
        let items = Vec::new().into_iter();
        Self { stores: stores.into_iter(), place: Place::Resources, items, encoder, buffer }
    }

    /// Returns the next chunk; none after the last one.
    ///
    /// # Errors
    ///
    /// If a store can't be read, or an entry can't be written.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ChunkError> {
        while self.buffer.len() < CHUNK_BYTES {
            let Some(encoder) = &mut self.encoder else { break };
            if let Some(item) = self.items.next() {
                encoder.entry(self.place, &item, &mut self.buffer)?;
            } else if let Some((place, store)) = self.stores.next() {
                self.place = place;
                self.items = store.load(b"").await?.items.into_iter();
            } else if let Some(encoder) = self.encoder.take() {
                encoder.finish(&mut self.buffer);
            }
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let rest = self.buffer.split_off(self.buffer.len().min(CHUNK_BYTES));
        Ok(Some(mem::replace(&mut self.buffer, rest).into()))
    }
}
