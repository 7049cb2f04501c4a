//! What the path of a data directory leads to.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use super::error::{DataDirError, Problem, io};
use crate::runtime::files::parent;

/// Returns whether there is a directory; if not, there is nothing.
///
/// # Errors
///
/// If there is something else, or if that can't be determined.
pub(super) fn is_directory(path: &Path) -> Result<bool, DataDirError> {
    let problem = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(true),
        Ok(_) => Problem::NotADirectory(path.to_owned()),
        // The link itself, whether or not the path ends in a slash.
        Err(error) if error.kind() == ErrorKind::NotFound => match fs::read_link(path.components().as_path())
        {
            Ok(target) => Problem::DanglingLink { path: path.to_owned(), target },
            Err(_) => return Ok(false),
        },
        Err(error) => return Err(of_path(path, "open")(error)),
    };
    Err(DataDirError(problem))
}

/// Checks that a directory can be created: there is nothing but an empty directory, and a
/// directory to create it in.
///
/// # Errors
///
/// If that is not so, or can't be determined.
pub(super) fn check_new(path: &Path) -> Result<(), DataDirError> {
    if is_directory(path)? {
        let mut entries = fs::read_dir(path).map_err(io("read", path))?;
        return match entries.next() {
            None => Ok(()),
            Some(_) => Err(DataDirError(Problem::NotEmpty(path.to_owned()))),
        };
    }
    if parent(path).is_dir() { Ok(()) } else { Err(DataDirError(Problem::ParentMissing(path.to_owned()))) }
}

/// The error of an operation with a path, of which some errors mean that the path is wrong.
pub(super) fn of_path(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |error| {
        let is_loop = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        match error.kind() {
            ErrorKind::NotADirectory => DataDirError(Problem::NotADirectory(path)),
            ErrorKind::InvalidFilename => DataDirError(Problem::TooLong(path)),
            _ if is_loop => DataDirError(Problem::LinkLoop(path)),
            _ => io(action, path)(error),
        }
    }
}
