//! The texts of errors: each has a cause and a remedy.

use std::io;

use redb::Error;

use super::embedded::{Kind, OpenError};

/// An operation on a file that failed.
pub(super) fn describe(action: &str, name: &str, cause: &str) -> String {
    format!("cannot {action} {name}: {cause}")
}

/// The cause of a failed operation, with its remedy.
pub(super) fn of_redb(error: Error) -> String {
    match error {
        Error::Io(error) => of_io(&error),
        other => other.to_string(),
    }
}

/// The cause of a failed operation, with its remedy.
pub fn of_io(error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run headcount as the owner of its files",
        io::ErrorKind::ReadOnlyFilesystem => "; mount its file system writable",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space on its file system",
        io::ErrorKind::Unsupported => "; use a file system that supports it",
        io::ErrorKind::NotFound => "; check the path",
        _ => "",
    };
    format!("{error}{remedy}")
}

/// A file that can't be used, what to do about it, and what is lost then.
pub(super) fn of_file(name: &str, error: &OpenError, kind: Kind) -> String {
    let remedy = match (error, kind) {
        (OpenError::Io(error), _) => return describe("open", name, &of_io(error)),
        (OpenError::Newer { .. }, _) => "start the version of headcount that wrote it, or a later one",
        (OpenError::Kind { .. }, _) => "move each file back to its name, or restore both from a backup",
        (_, Kind::Registrations) => {
            "restore it from a backup, or move it away: then dataplanes register again when they \
             reconnect, lost ones that do not reconnect are forgotten, and Workloads get new uids"
        }
        (_, Kind::Resources) => "restore it from a backup",
    };
    format!("cannot open {name}: {error}. The file was not changed; {remedy}")
}
