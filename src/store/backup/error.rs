//! What can be wrong with a backup.

use super::line::{MAX_LINE, VERSION};

/// Why a backup can't be written or read. Names the line, counted from 1.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BackupError {
    /// The line.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line of a backup.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file is of another kind.
    #[error(
        "this is not a backup of headcount, which begins with {{\"header\":{{\"format\":\"headcount-backup\""
    )]
    Foreign,
    /// A later version of headcount wrote the file.
    #[error(
        "the backup has format {0}, and this version reads up to format {VERSION}: use a later version of headcount"
    )]
    Newer(u32),
    /// The file ends here.
    #[error("the backup is truncated: it ends without a trailer; use another backup")]
    Truncated,
    /// The line has not the form of a line of a backup.
    #[error("the backup was altered: {0}; use another backup")]
    Altered(String),
    /// An entry can't be written to a backup.
    #[error("the entry {key} can't be written to a backup: {reason}")]
    Unsupported {
        /// The key, escaped.
        key: String,
        /// What is unusual about it.
        reason: &'static str,
    },
    /// The file can't be read.
    #[error("cannot read the backup: {0}")]
    Io(#[from] std::io::Error),
}

impl Problem {
    pub(super) fn altered(problem: impl Into<String>) -> Self {
        Self::Altered(problem.into())
    }

    pub(super) fn too_long() -> Self {
        Self::Altered(format!("the line has more than {} MiB", MAX_LINE >> 20))
    }
}
