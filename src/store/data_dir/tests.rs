//! What a test can't cause on every machine, or not from outside; `tests/store` has the rest.

use std::{
    fs,
    io::Error,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use super::{
    super::embedded::{Access, Kind, Location as _, OpenError},
    error::{DataDirError, Problem, io},
    files::LockedFile,
    lock::Lock,
};

#[test]
fn errors_of_a_file_system_name_the_path_the_cause_and_the_remedy() {
    // The numbers of errors in Linux.
    for (number, expected) in [
        (13, "Permission denied (os error 13); run headcount as the owner of its files"),
        (28, "No space left on device (os error 28); free some space on its file system"),
        (30, "Read-only file system (os error 30); mount its file system writable"),
        (95, "Operation not supported (os error 95); use a file system that supports it"),
        (122, "Disk quota exceeded (os error 122); free some space on its file system"),
        (5, "Input/output error (os error 5)"),
    ] {
        let error = || Error::from_raw_os_error(number);
        let created = io("create", "/data/lock")(error());
        assert_eq!(created.to_string(), format!("cannot create /data/lock: {expected}"));
        assert!(!created.is_usage());
        let (path, kind) = (PathBuf::from("/data/resources.redb"), Kind::Resources);
        let opened = DataDirError(Problem::File { path, kind, error: OpenError::Io(error()) });
        assert_eq!(opened.to_string(), format!("cannot open /data/resources.redb: {expected}"));
    }
}

/// As after an I/O error. A replaced file may be another server's.
#[test]
fn a_file_is_opened_again_only_if_it_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (path, original) = (directory.path().join("file"), directory.path().join("original"));
    fs::write(&path, "text").unwrap();
    let lock = Arc::new(Lock::acquire(directory.path()).unwrap());
    let file = LockedFile { path: path.clone(), access: Access::Write, identity: OnceLock::new(), lock };
    drop(file.open().unwrap());
    drop(file.open().unwrap());
    let refused = || {
        for error in [file.open().map(drop).unwrap_err(), file.check().unwrap_err()] {
            assert!(error.to_string().starts_with("it was removed or replaced"), "{error}");
        }
    };
    fs::rename(&path, &original).unwrap();
    refused();
    fs::copy(&original, &path).unwrap();
    refused();
    fs::rename(&original, &path).unwrap();
    drop(file.open().unwrap());
    fs::remove_file(directory.path().join("lock")).unwrap();
    for error in [file.open().map(drop).unwrap_err(), file.check().unwrap_err()] {
        assert!(error.to_string().starts_with("the lock of its directory was removed"), "{error}");
    }
}
