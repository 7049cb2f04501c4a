//! A check of a data directory that does not change it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::Item,
    super::embedded::{Access, Kind, OpenError},
    DataDirError,
    error::{Problem, io},
    files, lock_existing,
};

/// The result of a check of one file.
#[derive(Debug)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// What it contains, or what is wrong with it.
    pub contents: Result<Contents, DataDirError>,
}

/// What a file contains.
#[derive(Debug)]
pub struct Contents {
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// Its entries, in the order of their keys.
    pub items: Vec<Item>,
    /// Its latest revision.
    pub revision: u64,
}

/// Checks both files of a data directory that no server uses: their checksums, their structure,
/// and that all their entries can be read. Changes nothing but the file of the lock.
///
/// # Errors
///
/// If the directory can't be opened. A file that can't be opened is an error of its report.
pub fn verify(path: &Path) -> Result<Vec<FileReport>, DataDirError> {
    let lock = Arc::new(lock_existing(path)?);
    let report = |kind| {
        let file = files::path(path, kind);
        let contents = files::open(path, kind, Access::Read, &lock).and_then(|(store, _)| {
            let bytes = fs::metadata(&file).map_err(io("read", &file))?.len();
            let loaded = store.load_now(b"").map_err(|error| {
                let error = OpenError::Damaged(error.to_string());
                DataDirError(Problem::File { path: file.clone(), kind, error })
            })?;
            Ok(Contents { bytes, items: loaded.items, revision: loaded.revision })
        });
        FileReport { path: file, contents }
    };
    Ok([Kind::Resources, Kind::Registrations].map(report).into())
}
