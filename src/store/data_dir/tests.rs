//! The texts of errors that a test can't cause on every machine; `tests/store` has the others.

use std::{io::Error, path::PathBuf};

use super::{
    super::embedded::{Kind, OpenError},
    error::{DataDirError, Problem, io},
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
