//! The files of a data directory.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use redb::{StorageBackend, backends::FileBackend};
use tracing::warn;

use super::{
    super::embedded::{self, Access, EmbeddedStore, HeldBack, Kind, Location, OpenError},
    error::{DataDirError, Problem, io},
    identity::{Identity, changed, or_removed},
    lock::Lock,
    sync_parent,
};

pub(super) fn path(directory: &Path, kind: Kind) -> PathBuf {
    directory.join(match kind {
        Kind::Registrations => "registrations.redb",
        Kind::Resources => "resources.redb",
    })
}

/// Creates the files that are missing. Resources are created first, so a directory that has
/// registrations only has lost its resources. That is an error: an empty file in their place
/// would hide the loss.
pub(super) fn create_missing(directory: &Path) -> Result<(), DataDirError> {
    let (resources, registrations) = (path(directory, Kind::Resources), path(directory, Kind::Registrations));
    let exists = |path: &Path| path.try_exists().map_err(io("open", path));
    let (has_resources, has_registrations) = (exists(&resources)?, exists(&registrations)?);
    if has_registrations && !has_resources {
        return Err(DataDirError(Problem::ResourcesMissing(resources)));
    }
    if !has_resources {
        create(&resources, Kind::Resources)?;
    }
    if !has_registrations {
        create(&registrations, Kind::Registrations)?;
    }
    Ok(())
}

/// Creates a file under another name first, so that a crash leaves none that can't be opened.
fn create(path: &Path, kind: Kind) -> Result<(), DataDirError> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&new).map_err(io("create", &new))?;
    let file_error = |error| DataDirError(Problem::File { path: new.clone(), kind, error });
    embedded::create(backend(file).map_err(io("create", &new))?, kind).map_err(file_error)?;
    fs::rename(&new, path).map_err(io("create", path))?;
    sync_parent(path)
}

/// Opens a file of a directory that is locked, and writes nothing to it yet.
pub(super) fn open(
    directory: &Path,
    kind: Kind,
    access: Access,
    lock: &Arc<Lock>,
) -> Result<(EmbeddedStore, HeldBack), DataDirError> {
    let path = path(directory, kind);
    let lock = lock.clone();
    let location = LockedFile { path: path.clone(), access, identity: OnceLock::new(), lock };
    EmbeddedStore::open(path.display().to_string(), Box::new(location), kind, access).map_err(|error| {
        match error {
            OpenError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                DataDirError(Problem::FileMissing(path))
            }
            error => DataDirError(Problem::File { path, kind, error }),
        }
    })
}

/// Writes what redb wrote when it opened the file.
pub(super) fn release(directory: &Path, kind: Kind, held: &HeldBack) -> Result<(), DataDirError> {
    let path = path(directory, kind);
    make_private(&path);
    held.release().map_err(|error| DataDirError(Problem::File { path, kind, error: error.into() }))
}

/// A file of a directory whose lock it holds.
pub(super) struct LockedFile {
    pub(super) path: PathBuf,
    pub(super) access: Access,
    /// Of the file that was opened first.
    pub(super) identity: OnceLock<Identity>,
    pub(super) lock: Arc<Lock>,
}

/// How errors name the file, after its path.
const FILE: &str = "it";

impl Location for LockedFile {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(self.access == Access::Write).open(&self.path);
        let file = match self.identity.get() {
            Some(_) => opened.map_err(|error| or_removed(error, FILE))?,
            None => opened?,
        };
        let identity = Identity::of(&file)?;
        // Another file may have older registrations, or those of another server.
        if *self.identity.get_or_init(|| identity) != identity {
            return Err(changed(FILE));
        }
        self.lock.check()?;
        backend(file)
    }

    fn check(&self) -> io::Result<()> {
        if let Some(identity) = self.identity.get() {
            identity.check(&self.path, FILE)?;
        }
        self.lock.check()
    }
}

fn backend(file: File) -> io::Result<Box<dyn StorageBackend>> {
    Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
}

/// Takes the permissions of other users away, which a copy or a volume of Kubernetes may have
/// added.
fn make_private(path: &Path) {
    let private = |metadata: fs::Metadata| match metadata.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, Permissions::from_mode(0o600)),
    };
    if let Err(error) = fs::metadata(path).and_then(private) {
        warn!("cannot take the permissions of other users for {} away: {error}", path.display());
    }
}
