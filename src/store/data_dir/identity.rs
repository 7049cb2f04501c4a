//! Whether a path still leads to the file that the process has open. A file can be removed or
//! replaced while it is open: then writes to it succeed, and a later start does not find them.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// What distinguishes a file from all others that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The identity of an open file, which no other file gets before it is closed.
    ///
    /// # Errors
    ///
    /// If its metadata can't be read.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// Checks that a path leads to this file. `what` names the file in the error.
    ///
    /// # Errors
    ///
    /// If it does not, with the remedy, or if that can't be determined.
    pub(super) fn check(self, path: &Path, what: &str) -> io::Result<()> {
        match fs::metadata(path) {
            Ok(metadata) if Self::from(&metadata) == self => Ok(()),
            Ok(_) => Err(changed(what)),
            Err(error) => Err(or_removed(error, what)),
        }
    }
}

impl From<&fs::Metadata> for Identity {
    fn from(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The error of a path that does not lead to the file any more.
pub(super) fn changed(what: &str) -> io::Error {
    io::Error::other(format!(
        "{what} was removed or replaced while the server runs; move the original back, or restart the server, \
         which then has only what is in the directory"
    ))
}

/// The error of a path that led to a file before.
pub(super) fn or_removed(error: io::Error, what: &str) -> io::Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => changed(what),
        _ => error,
    }
}
