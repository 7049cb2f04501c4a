//! What can be wrong with a data directory.

use std::{fmt, io, path::PathBuf};

use super::super::{
    embedded::{Kind, OpenError},
    problem,
};

/// Why a data directory can't be used. The text names the path, the cause and the remedy.
#[derive(Debug)]
pub struct DataDirError(pub(super) Problem);

#[derive(Debug)]
pub(super) enum Problem {
    NotADirectory(PathBuf),
    /// A symbolic link to what does not exist.
    DanglingLink {
        path: PathBuf,
        target: PathBuf,
    },
    LinkLoop(PathBuf),
    TooLong(PathBuf),
    ParentMissing(PathBuf),
    DirectoryMissing(PathBuf),
    NotEmpty(PathBuf),
    FileMissing(PathBuf),
    /// The other file is there.
    ResourcesMissing(PathBuf),
    Locked {
        path: PathBuf,
        process: Option<u32>,
    },
    Io {
        action: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    File {
        path: PathBuf,
        kind: Kind,
        error: OpenError,
    },
}

impl DataDirError {
    /// Whether the path is wrong, rather than what it leads to.
    pub fn is_usage(&self) -> bool {
        matches!(
            self.0,
            Problem::NotADirectory(_)
                | Problem::DanglingLink { .. }
                | Problem::LinkLoop(_)
                | Problem::TooLong(_)
                | Problem::ParentMissing(_)
                | Problem::DirectoryMissing(_)
                | Problem::NotEmpty(_)
        )
    }

    /// Whether another process uses the directory.
    pub fn is_locked(&self) -> bool {
        matches!(self.0, Problem::Locked { .. })
    }
}

impl std::error::Error for DataDirError {}

impl fmt::Display for DataDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::NotADirectory(path) => {
                write!(f, "the data directory {} is not a directory; choose another path", path.display())
            }
            Problem::DanglingLink { path, target } => write!(
                f,
                "the data directory {} is a symbolic link to {}, which does not exist; create that directory, \
                 or choose another path",
                path.display(),
                target.display()
            ),
            Problem::LinkLoop(path) => write!(
                f,
                "the path of the data directory {} leads through too many symbolic links, or a loop of them; \
                 choose another path",
                path.display()
            ),
            Problem::TooLong(path) => {
                write!(
                    f,
                    "the path of the data directory {} is too long; choose a shorter one",
                    path.display()
                )
            }
            Problem::ParentMissing(path) => {
                let parent = path.parent().unwrap_or(path).display();
                write!(
                    f,
                    "cannot create the data directory {}: there is no {parent}; create it",
                    path.display()
                )
            }
            Problem::DirectoryMissing(path) => {
                write!(f, "there is no data directory {}; check the path", path.display())
            }
            Problem::NotEmpty(path) => {
                write!(f, "the directory {} is not empty; choose one that is, or a new one", path.display())
            }
            Problem::FileMissing(path) => write!(
                f,
                "there is no {}; check the path of the data directory, or restore it from a backup",
                path.display()
            ),
            Problem::ResourcesMissing(path) => write!(
                f,
                "there is no {}, but the other file of the data directory is there; restore it from a backup, \
                 or move the other one away to begin with an empty directory",
                path.display()
            ),
            Problem::Locked { path, process } => {
                write!(f, "the data directory {} is in use by ", path.display())?;
                match process {
                    Some(process) => write!(f, "process {process}")?,
                    None => write!(f, "another process")?,
                }
                write!(f, "; stop that process, or choose another directory")
            }
            Problem::Io { action, path, error } => {
                let text = problem::describe(action, &path.display().to_string(), &problem::of_io(error));
                f.write_str(&text)
            }
            Problem::File { path, kind, error } => {
                f.write_str(&problem::of_file(&path.display().to_string(), error, *kind))
            }
        }
    }
}

/// Attaches the path and what was done to an I/O error.
pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.into();
    move |error| DataDirError(Problem::Io { action, path, error })
}
