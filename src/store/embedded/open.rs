//! Opens a file, and writes nothing to it before all its data has been checked.

use std::io;

use redb::{Builder, Database, Error, StorageBackend};

use super::{
    format::{self, Kind},
    held_back::HeldBack,
};
use crate::runtime::blocking::catch_panic;

/// The memory that redb uses to cache pages of one file, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Where redb's format has its version: in each of the two commit slots.
const VERSION_OFFSETS: [u64; 2] = [64, 192];
/// The newest version of redb's format that this version of redb reads.
const NEWEST_VERSION: u8 = 3;

/// Why a file can't be opened. Nothing was written to it, unless it is an I/O error.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum OpenError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is empty")]
    Empty,
    #[error("it is not a file that headcount has written")]
    Foreign,
    #[error("its format is {found}, and this version of headcount reads formats up to {newest}")]
    Newer { found: u64, newest: u64 },
    #[error("it is a file of {found:?}, not of {expected}")]
    Kind { found: String, expected: &'static str },
    /// Some of its data is wrong or missing.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged("its end is missing".to_owned())
            }
            Error::Io(error) => Self::Io(error),
            Error::Corrupted(what) => Self::Damaged(what),
            // A lock is poisoned after a panic.
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Access {
    /// The file is never changed.
    Read,
    Write,
}

/// A database that has been accepted. It can be read at once, and written when its storage has
/// been released.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) revision: u64,
    pub(super) storage: HeldBack,
}

/// Makes an empty storage a store without entries. A crash meanwhile leaves a file that can't be
/// opened, so it must be under another name.
pub(in crate::store) fn create(storage: Box<dyn StorageBackend>, kind: Kind) -> Result<(), OpenError> {
    let storage = HeldBack::new(storage)?;
    storage.release()?;
    let database = builder().create_with_backend(storage).map_err(Error::from)?;
    let transaction = database.begin_write().map_err(Error::from)?;
    format::initialize(&transaction, kind)?;
    transaction.commit().map_err(Error::from)?;
    database.close().map_err(Error::from)?;
    Ok(())
}

/// Opens the store in a storage, after a check of all its data. Writes nothing to the storage
/// before it is released.
pub(super) fn open(storage: Box<dyn StorageBackend>, kind: Kind) -> Result<Opened, OpenError> {
    if storage.len()? == 0 {
        return Err(OpenError::Empty);
    }
    let storage = HeldBack::new(storage)?;
    // In release builds redb reports damage as an error, except where it has a bug.
    let opened = catch_panic(|| {
        let database = open_database(&storage)?;
        let revision = format::check(&database, kind)?;
        Ok((database, revision))
    });
    let (database, revision) = opened.unwrap_or_else(|panic| Err(OpenError::Damaged(panic)))?;
    Ok(Opened { database, revision, storage })
}

fn open_database(storage: &HeldBack) -> Result<Database, OpenError> {
    let opened = builder().create_with_backend(storage.clone());
    opened.map_err(|error| match Error::from(error) {
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => OpenError::Foreign,
        Error::Corrupted(what) => newer(storage).unwrap_or(OpenError::Damaged(what)),
        error => error.into(),
    })
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    // Reads the whole file and verifies all checksums: 100,000 registrations take 0.1 s.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// The error for a file that a later version of redb has written.
fn newer(storage: &HeldBack) -> Option<OpenError> {
    let versions = VERSION_OFFSETS.map(|offset| {
        let mut version = [0];
        storage.read(offset, &mut version).ok().map(|()| version[0])
    });
    match versions {
        [Some(found), other] if Some(found) == other && found > NEWEST_VERSION => {
            Some(OpenError::Newer { found: found.into(), newest: NEWEST_VERSION.into() })
        }
        _ => None,
    }
}
