//! Writes the lines of a backup.

use std::{fmt::Write as _, time::SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::digest::{Context, Digest, SHA256};
use serde::Serialize as _;

use super::{
    error::{BackupError, Problem},
    line::{EntryLine, FORMAT, HeaderLine, Line, MAX_LINE, Place, TrailerLine, VERSION},
};
use crate::store::Item;

/// Appends the lines of a backup to a buffer. Entries must come in the order of their stores and
/// keys.
#[derive(Clone)]
pub struct Encoder {
    digest: Context,
    entries: u64,
}

impl Encoder {
    /// Begins a backup that is made at this time, to a second.
    pub fn begin(created: SystemTime, out: &mut Vec<u8>) -> Self {
        let header = HeaderLine {
            format: FORMAT.to_owned(),
            version: VERSION,
            server: env!("CARGO_PKG_VERSION").to_owned(),
            created: humantime::format_rfc3339_seconds(created).to_string(),
        };
        let mut encoder = Self { digest: Context::new(&SHA256), entries: 0 };
        let start = out.len();
        write_line(&Line::Header(header), out);
        encoder.digest.update(&out[start..]);
        encoder
    }

    /// Appends an entry.
    ///
    /// # Errors
    ///
    /// If the key is not text, or the line is too long. Nothing is appended then.
    pub fn entry(&mut self, place: Place, item: &Item, out: &mut Vec<u8>) -> Result<(), BackupError> {
        let unsupported = |reason| {
            let key = item.key.escape_ascii().to_string();
            BackupError { line: self.entries + 2, problem: Problem::Unsupported { key, reason } }
        };
        let key = str::from_utf8(&item.key).map_err(|_| unsupported("its key is not UTF-8"))?;
        let value = BASE64_STANDARD.encode(&item.value);
        let start = out.len();
        write_line(&Line::Entry(EntryLine { store: place, key: key.into(), value: value.into() }), out);
        if out.len() - start > MAX_LINE {
            out.truncate(start);
            return Err(unsupported("it is too large"));
        }
        self.digest.update(&out[start..]);
        self.entries += 1;
        Ok(())
    }

    /// Appends the trailer.
    pub fn finish(self, out: &mut Vec<u8>) {
        write_line(&Line::Trailer(trailer(self.entries, &self.digest.finish())), out);
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("entries", &self.entries).finish_non_exhaustive()
    }
}

pub(super) fn trailer(entries: u64, digest: &Digest) -> TrailerLine {
    let sha256 = digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String never fails.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    TrailerLine { entries, sha256 }
}

pub(super) fn write_line(line: &Line<'_>, out: &mut Vec<u8>) {
    // Fails only for maps whose keys are not text, and if the buffer fails.
    line.serialize(&mut serde_json::Serializer::new(&mut *out)).expect("a line is valid JSON");
    out.push(b'\n');
}
