//! The data directory of a server: two files and a lock. Registrations are many, and are rebuilt
//! when the proxies reconnect. Resources are few and can't be rebuilt, so they have a file of
//! their own.

mod error;
mod files;
mod identity;
mod lock;
mod path;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    fs::{self, DirBuilder},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::warn;

pub use self::{
    error::DataDirError,
    verify::{Contents, FileReport, verify},
};
use self::{
    error::{Problem, io},
    lock::Lock,
};
use super::{
    Store, Stores,
    embedded::{Access, EmbeddedStore, Kind},
};
use crate::runtime::files::{parent, sync_directory};

/// An open data directory. No other process can open it until this value and both stores are
/// dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    registrations: Arc<EmbeddedStore>,
    resources: Arc<EmbeddedStore>,
}

impl DataDir {
    /// Opens a data directory, for a server. Creates the directory, which only its owner can
    /// enter, and the files, which only their owner can read, if they are missing. Blocks for
    /// about 0.1 s for each 100,000 registrations, whose checksums are verified.
    ///
    /// # Errors
    ///
    /// If it can't be used. A file that is damaged, or that was written by a later version, is
    /// not changed.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create_directory(path)?;
        let lock = Arc::new(Lock::acquire(path)?);
        warn_if_writable_by_everyone(path);
        files::create_missing(path)?;
        Self::open_files(path, Access::Write, &lock)
    }

    /// Opens a data directory that exists, for reading: commits fail. Creates and changes nothing
    /// but the file of the lock.
    ///
    /// # Errors
    ///
    /// If it can't be used.
    pub fn open_existing(path: &Path) -> Result<Self, DataDirError> {
        let lock = Arc::new(lock_existing(path)?);
        Self::open_files(path, Access::Read, &lock)
    }

    /// Creates a data directory. The path must be absent, or an empty directory.
    ///
    /// # Errors
    ///
    /// If it can't be created.
    pub fn create_new(path: &Path) -> Result<Self, DataDirError> {
        Self::check_new(path)?;
        create_directory(path)?;
        let lock = Arc::new(Lock::acquire(path)?);
        files::create_missing(path)?;
        Self::open_files(path, Access::Write, &lock)
    }

    /// Checks that [`Self::create_new`] can create a directory at this path.
    ///
    /// # Errors
    ///
    /// If it can't, as far as that is known without an attempt.
    pub fn check_new(path: &Path) -> Result<(), DataDirError> {
        path::check_new(path)
    }

    fn open_files(path: &Path, access: Access, lock: &Arc<Lock>) -> Result<Self, DataDirError> {
        // First the one that matters most. Both are accepted before either is changed.
        let (resources, held_resources) = files::open(path, Kind::Resources, access, lock)?;
        let (registrations, held_registrations) = files::open(path, Kind::Registrations, access, lock)?;
        if access == Access::Write {
            files::release(path, Kind::Resources, &held_resources)?;
            files::release(path, Kind::Registrations, &held_registrations)?;
        }
        Ok(Self { path: path.to_owned(), registrations: registrations.into(), resources: resources.into() })
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Both stores.
    pub fn stores(&self) -> Stores {
        Stores { registrations: self.registrations(), resources: self.resources() }
    }

    /// The store of registrations and Workloads.
    pub fn registrations(&self) -> Arc<dyn Store> {
        self.registrations.clone()
    }

    /// The store of all else, such as the reserved revisions.
    pub fn resources(&self) -> Arc<dyn Store> {
        self.resources.clone()
    }
}

/// Locks a directory that must exist.
fn lock_existing(path: &Path) -> Result<Lock, DataDirError> {
    if !path::is_directory(path)? {
        return Err(DataDirError(Problem::DirectoryMissing(path.to_owned())));
    }
    match Lock::acquire(path) {
        // A backup of the whole file system, for example. No server can use it.
        Err(DataDirError(Problem::Io { error, .. })) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
            Ok(Lock::unneeded())
        }
        result => result,
    }
}

/// Creates the directory unless it exists. Its parent must exist.
fn create_directory(path: &Path) -> Result<(), DataDirError> {
    if path::is_directory(path)? {
        return Ok(());
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path),
        // Another process has created it meanwhile.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => path::is_directory(path).map(drop),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(DataDirError(Problem::ParentMissing(path.to_owned())))
        }
        Err(error) => Err(path::of_path(path, "create")(error)),
    }
}

/// Makes the creation of a file or directory durable.
fn sync_parent(path: &Path) -> Result<(), DataDirError> {
    let parent = parent(path);
    sync_directory(parent).map_err(io("write", parent))
}

/// An existing directory keeps its permissions, because it may have other users: a volume in
/// Kubernetes is often writable by all, or belongs to a group. etcd does the same.
fn warn_if_writable_by_everyone(path: &Path) {
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o002 != 0) {
        let path = path.display();
        warn!("every user can replace the files in the data directory {path}; chmod 0700 prevents that");
    }
}
