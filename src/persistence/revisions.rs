//! Revisions that are never handed out twice, whatever the clock says.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    proto::store::Revisions,
    store::{Expected, Store, StoreError, Write, key},
};

/// How many revisions are reserved at a time: as microseconds, which the first revision is, 18
/// minutes; as changes, more than 1,000 s of the fastest server.
const STEP: u64 = 1 << 30;

/// The revisions that this process may hand out without a gap in what is stored.
#[derive(Debug)]
pub(super) struct Reservation {
    /// Below all revisions that this process hands out, and at least as great as those that
    /// earlier processes have handed out.
    pub(super) first: u64,
    reserved: u64,
}

impl Reservation {
    /// Reserves the first revisions of this process.
    ///
    /// # Errors
    ///
    /// If the store fails, or its record can't be decoded.
    pub(super) async fn begin(store: &dyn Store, clock_revision: u64) -> Result<Self, StoreError> {
        let found = store.load(key::REVISIONS).await?.items.pop();
        let earlier = match found {
            Some(item) => Revisions::decode(item.value).map_err(|error| damaged(&error))?.reserved,
            None => 0,
        };
        let first = clock_revision.max(earlier);
        let mut reservation = Self { first, reserved: first };
        reservation.extend(store, first).await?;
        Ok(reservation)
    }

    /// Reserves more revisions if half of the reserved ones have been handed out.
    pub(super) async fn extend(&mut self, store: &dyn Store, head: u64) -> Result<(), StoreError> {
        if self.reserved.saturating_sub(head) > STEP / 2 {
            return Ok(());
        }
        let reserved = head.saturating_add(STEP);
        let value = Revisions { reserved }.encode_to_vec().into();
        let key = Bytes::from_static(key::REVISIONS);
        store.commit(vec![Write { key, expected: Expected::Any, value: Some(value) }]).await?;
        self.reserved = reserved;
        Ok(())
    }
}

fn damaged(error: &prost::DecodeError) -> StoreError {
    let key = String::from_utf8_lossy(key::REVISIONS);
    StoreError::Damaged(format!(
        "the record {key} can't be decoded ({error}): restore the directory from a backup"
    ))
}
