//! Reads the lines of a backup.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use serde::Deserialize;

use super::{
    encode::{trailer, write_line},
    error::{BackupError, Problem},
    line::{Entry, EntryLine, FORMAT, Header, HeaderLine, Line, Place, Summary, TrailerLine, VERSION},
};

/// Reads one line after another. All that it returns is provisional until [`Decoder::end`] has
/// succeeded.
pub struct Decoder {
    digest: Context,
    line: u64,
    bytes: u64,
    entries: u64,
    header: Option<Header>,
    /// The latest key, because keys ascend: no entry occurs twice.
    latest: Option<(Place, Bytes)>,
    has_trailer: bool,
}

impl Decoder {
    /// A decoder that expects the first line.
    pub fn new() -> Self {
        Self {
            digest: Context::new(&SHA256),
            line: 0,
            bytes: 0,
            entries: 0,
            header: None,
            latest: None,
            has_trailer: false,
        }
    }

    /// Reads the next line, with its line feed. Returns its entry, if it has one.
    ///
    /// # Errors
    ///
    /// If it is not the line that has to follow. The decoder must not be used again then.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Entry>, BackupError> {
        self.line += 1;
        self.bytes += line.len() as u64;
        self.read(line).map_err(|problem| self.error(problem))
    }

    /// Ends the backup. `rest` is what follows the last line feed.
    ///
    /// # Errors
    ///
    /// If it is not complete.
    pub fn end(self, rest: &[u8]) -> Result<Summary, BackupError> {
        let problem = match self.header {
            _ if self.has_trailer && !rest.is_empty() => after_trailer(),
            Some(header) if self.has_trailer => {
                return Ok(Summary { header, entries: self.entries, bytes: self.bytes });
            }
            Some(_) => Problem::Truncated,
            None => Problem::Foreign,
        };
        Err(BackupError { line: self.line + 1, problem })
    }

    /// An error in the line that follows those that were read.
    pub(super) fn error_in_next(&self, problem: Problem) -> BackupError {
        BackupError { line: self.line + 1, problem }
    }

    fn error(&self, problem: Problem) -> BackupError {
        BackupError { line: self.line, problem }
    }

    fn read(&mut self, line: &[u8]) -> Result<Option<Entry>, Problem> {
        if self.has_trailer {
            return Err(after_trailer());
        }
        if self.header.is_none() {
            self.header = Some(read_header(line)?);
            self.digest.update(line);
            return Ok(None);
        }
        match serde_json::from_slice(line) {
            Ok(Line::Entry(entry)) => {
                self.digest.update(line);
                self.entry(&entry).map(Some)
            }
            Ok(Line::Trailer(found)) => self.trailer(&found, line).map(|()| None),
            Ok(Line::Header(_)) => Err(Problem::altered("it has a second header")),
            // Its text may quote the line.
            Err(error) => Err(Problem::Altered(format!("this is no entry (column {})", error.column()))),
        }
    }

    fn entry(&mut self, entry: &EntryLine<'_>) -> Result<Entry, Problem> {
        let value = BASE64_STANDARD
            .decode(&*entry.value)
            .map_err(|error| Problem::Altered(format!("the value is not base64 ({error})")))?;
        let key = Bytes::copy_from_slice(entry.key.as_bytes());
        let position = (entry.store, key.clone());
        if self.latest.as_ref().is_some_and(|latest| *latest >= position) {
            return Err(Problem::altered("the entry is not in the order of stores and keys"));
        }
        self.latest = Some(position);
        self.entries += 1;
        Ok(Entry { place: entry.store, key, value: value.into() })
    }

    /// Compares the whole line, so that no byte of it can be altered either.
    fn trailer(&mut self, found: &TrailerLine, line: &[u8]) -> Result<(), Problem> {
        let expected = trailer(self.entries, &self.digest.clone().finish());
        if found.entries != expected.entries {
            let (stated, found) = (found.entries, expected.entries);
            return Err(Problem::Altered(format!(
                "the trailer states {stated} entries, but there are {found}"
            )));
        }
        if found.sha256 != expected.sha256 {
            return Err(Problem::altered("the checksum differs, so a line before this one was changed"));
        }
        let mut exact = Vec::with_capacity(line.len());
        write_line(&Line::Trailer(expected), &mut exact);
        if line != exact {
            return Err(Problem::altered("the trailer is written in another way"));
        }
        self.has_trailer = true;
        Ok(())
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("line", &self.line).finish_non_exhaustive()
    }
}

fn after_trailer() -> Problem {
    Problem::altered("there is text after the trailer")
}

fn read_header(line: &[u8]) -> Result<Header, Problem> {
    /// A later version may have other lines, but still a header with these fields.
    #[derive(Deserialize)]
    struct Found {
        header: HeaderLine,
    }
    let Ok(Found { header }) = serde_json::from_slice(line) else { return Err(Problem::Foreign) };
    if header.format != FORMAT {
        return Err(Problem::Foreign);
    }
    match header.version {
        0 => return Err(Problem::altered("there is no format 0")),
        version if version > VERSION => return Err(Problem::Newer(version)),
        _ => {}
    }
    let created = humantime::parse_rfc3339(&header.created)
        .map_err(|error| Problem::Altered(format!("the time of creation is invalid ({error})")))?;
    Ok(Header { server: header.server, created })
}
