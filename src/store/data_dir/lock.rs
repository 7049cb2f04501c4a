//! The lock of a data directory: two processes must not use one.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
};

use super::{
    error::{DataDirError, Problem, io},
    identity::Identity,
};

/// The name of the lock's file. It remains when the lock is released, so that no process locks
/// a file that another one has removed.
const FILE: &str = "lock";

/// A lock that is held until it is dropped, or the process ends. Its file has the id of the
/// process.
#[derive(Debug)]
pub(super) struct Lock(Option<Held>);

#[derive(Debug)]
struct Held {
    file: File,
    path: PathBuf,
    identity: Identity,
}

impl Lock {
    pub(super) fn acquire(directory: &Path) -> Result<Self, DataDirError> {
        let path = directory.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = read_process(&mut file);
                return Err(DataDirError(Problem::Locked { path: directory.to_owned(), process }));
            }
            Err(TryLockError::Error(error)) => return Err(io("lock", &path)(error)),
        }
        write_process(&mut file).map_err(io("write", &path))?;
        let identity = Identity::of(&file).map_err(io("read", &path))?;
        Ok(Self(Some(Held { file, path, identity })))
    }

    /// For a directory that no process can write to.
    pub(super) fn unneeded() -> Self {
        Self(None)
    }

    /// Checks that its file is still in the directory: if not, another process can lock the
    /// directory.
    ///
    /// # Errors
    ///
    /// If it is not, or if that can't be determined.
    pub(super) fn check(&self) -> io::Result<()> {
        match &self.0 {
            Some(held) => held.identity.check(&held.path, "the lock of its directory"),
            None => Ok(()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not left to the end of the file, which a process that was just forked still has.
        if let Some(held) = &self.0 {
            let _ = held.file.unlock();
        }
    }
}

fn write_process(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", process::id())
}

/// The process that holds the lock; none if it has not written its id yet.
fn read_process(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // The file could be anything; an id has at most ten digits.
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
