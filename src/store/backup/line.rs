//! The lines of a backup.

use std::{fmt, time::SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The format that this version writes, and the newest that it reads.
pub(super) const VERSION: u32 = 1;
/// Tells a backup from other JSON.
pub(super) const FORMAT: &str = "headcount-backup";
/// The longest line, in bytes. Stores reject values of more than a few MiB, and a reader needs a
/// bound for its memory.
pub const MAX_LINE: usize = 16 << 20;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line<'a> {
    Header(HeaderLine),
    #[serde(borrow)]
    Entry(EntryLine<'a>),
    Trailer(TrailerLine),
}

/// Later versions may add fields, so that this version can report the version that it found.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeaderLine {
    pub(super) format: String,
    pub(super) version: u32,
    #[serde(default)]
    pub(super) server: String,
    #[serde(default)]
    pub(super) created: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine<'a> {
    pub(super) store: Place,
    #[serde(borrow)]
    pub(super) key: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub(super) value: std::borrow::Cow<'a, str>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrailerLine {
    pub(super) entries: u64,
    pub(super) sha256: String,
}

/// The store that an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Keys, tokens, reserved revisions. First, because they are few and matter most.
    Resources,
    /// Registrations and Workloads.
    Registrations,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resources => "resources",
            Self::Registrations => "registrations",
        })
    }
}

/// What the first line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The version of headcount that made the backup.
    pub server: String,
    /// When, as the clock of the server said.
    pub created: SystemTime,
}

/// An entry of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The store.
    pub place: Place,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// What a whole backup has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// From the first line.
    pub header: Header,
    /// The number of entries.
    pub entries: u64,
    /// The length, in bytes.
    pub bytes: u64,
}
