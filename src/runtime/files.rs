//! Directories of files.

use std::{fs::File, io, path::Path};

/// Returns the directory that a file or directory is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the creation and the names of the files in a directory durable.
///
/// # Errors
///
/// If the directory can't be opened or written.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
