//! Writes the entries of a backup to empty stores.

use std::{io::BufRead, mem};

use prost::Message as _;

use super::{
    error::BackupError,
    line::{Entry, Place, Summary},
    read::Reader,
};
use crate::{
    proto::store::Revisions,
    store::{Expected, Outcome, StoreError, Stores, Write, key},
};

/// How many revisions a restore skips. After a backup was made, its server may have handed out more
/// revisions, and may have reserved 2^30 more at each restart; this is enough for 1,000 restarts. As
/// microseconds, which the first revision is if the clock is right, it is 12 days.
pub const REVISION_STEP: u64 = 1 << 40;
/// The most entries and the most bytes of one commit; a commit takes a few milliseconds.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;

/// Why a backup could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not right.
    #[error("{0}")]
    Backup(#[from] BackupError),
    /// A store can't be written.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The record of revisions can't be decoded.
    #[error("the record server/revisions can't be decoded ({0}): use another backup")]
    Revisions(prost::DecodeError),
}

/// Writes all entries of a backup to stores that are empty. The reserved revisions are raised by
/// [`REVISION_STEP`], so that no revision that the server has handed out since the backup is handed
/// out again.
///
/// # Errors
///
/// If the backup is not right or a store can't be written. Then a part of the entries may have been
/// written, so that the stores are of no use.
pub async fn restore(mut backup: Reader<impl BufRead>, stores: &Stores) -> Result<Summary, RestoreError> {
    let (mut place, mut batch, mut bytes) = (Place::Resources, Vec::new(), 0);
    while let Some(entry) = backup.next()? {
        let entry = with_later_revisions(entry)?;
        let size = entry.key.len() + entry.value.len();
        if entry.place != place || batch.len() == BATCH || bytes + size > BATCH_BYTES {
            commit(stores, place, mem::take(&mut batch)).await?;
            bytes = 0;
        }
        place = entry.place;
        bytes += size;
        batch.push(Write { key: entry.key, expected: Expected::Absent, value: Some(entry.value) });
    }
    commit(stores, place, batch).await?;
    Ok(backup.end()?)
}

async fn commit(stores: &Stores, place: Place, batch: Vec<Write>) -> Result<(), StoreError> {
    if batch.is_empty() {
        return Ok(());
    }
    let store = match place {
        Place::Resources => &stores.resources,
        Place::Registrations => &stores.registrations,
    };
    let committed = store.commit(batch).await?;
    if committed.outcomes.iter().any(|outcome| *outcome != Outcome::Applied) {
        return Err(StoreError::Unavailable(format!("the store of {place} is not empty")));
    }
    Ok(())
}

fn with_later_revisions(entry: Entry) -> Result<Entry, RestoreError> {
    if entry.place != Place::Resources || *entry.key != *key::REVISIONS {
        return Ok(entry);
    }
    let Revisions { reserved } = Revisions::decode(&*entry.value).map_err(RestoreError::Revisions)?;
    let value = Revisions { reserved: reserved.saturating_add(REVISION_STEP) }.encode_to_vec().into();
    Ok(Entry { value, ..entry })
}
