//! Backups: everything in both stores as one text file.
//!
//! ```text
//!  Stores ──load──► Chunks (encode) ──► file, or the chunks of an RPC
//!  Stores ◄─commit─ restore ◄── Reader (decode) ◄── file
//! ```
//!
//! A backup is in JSON Lines: a header, a line for each entry, and a trailer with the number of
//! entries and the SHA-256 digest of all lines before it.
//!
//! ```json
//! {"header":{"format":"headcount-backup","version":1,"server":"0.1.0","created":"2026-01-02T03:04:05Z"}}
//! {"entry":{"store":"resources","key":"server/revisions","value":"CAE="}}
//! {"entry":{"store":"registrations","key":"workloads/shop/web","value":"CgdkZWZhdWx0"}}
//! {"trailer":{"entries":2,"sha256":"e3b0c442…"}}
//! ```
//!
//! Values are base64 and have no meaning here, so new kinds of records need no new format. Entries
//! are in the order of their stores and keys. Revisions are not part of a backup: a store counts its
//! own, and no client sees them.

mod chunks;
mod decode;
mod encode;
mod error;
mod line;
mod read;
mod restore;
#[cfg(test)]
mod tests;

pub use self::{
    chunks::{CHUNK_BYTES, ChunkError, Chunks},
    decode::Decoder,
    encode::Encoder,
    error::{BackupError, Problem},
    line::{Entry, Header, MAX_LINE, Place, Summary},
    read::{Check, Reader},
    restore::{REVISION_STEP, RestoreError, restore},
};
