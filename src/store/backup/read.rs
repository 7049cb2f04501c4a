//! Reads whole backups: from a file, or as chunks that arrive.

use std::io::{BufRead, Read as _};

use super::{
    decode::Decoder,
    error::{BackupError, Problem},
    line::{Entry, MAX_LINE, Summary},
};

/// Reads a backup from a file, with memory for one line.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    line: Vec<u8>,
    decoder: Decoder,
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), decoder: Decoder::new() }
    }

    /// Passes each entry to `entry`, and returns when the whole backup is right. The entries are
    /// provisional until then.
    ///
    /// # Errors
    ///
    /// If the backup can't be read or is not right.
    pub fn read_all(mut self, mut entry: impl FnMut(Entry)) -> Result<Summary, BackupError> {
        while let Some(next) = self.next()? {
            entry(next);
        }
        self.end()
    }

    /// Returns the next entry; none after the last one, when the backup is to be ended by
    /// [`Reader::end`].
    ///
    /// # Errors
    ///
    /// If the backup can't be read or is not right.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not say that the end is right")]
    pub fn next(&mut self) -> Result<Option<Entry>, BackupError> {
        while self.read_line()? {
            if let Some(entry) = self.decoder.line(&self.line)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Returns what the backup has, after its last entry.
    ///
    /// # Errors
    ///
    /// If the backup is not complete.
    pub fn end(self) -> Result<Summary, BackupError> {
        self.decoder.end(&self.line)
    }

    /// Reads a line; false if the input ends before a line feed.
    fn read_line(&mut self) -> Result<bool, BackupError> {
        self.line.clear();
        let limit = MAX_LINE as u64 + 1;
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.line);
        read.map_err(|error| self.decoder.error_in_next(error.into()))?;
        if self.line.len() > MAX_LINE {
            return Err(self.decoder.error_in_next(Problem::too_long()));
        }
        Ok(self.line.ends_with(b"\n"))
    }
}

/// Checks a backup whose chunks arrive one after another.
#[derive(Debug, Default)]
pub struct Check {
    decoder: Decoder,
    /// The beginning of a line.
    partial: Vec<u8>,
}

impl Check {
    /// Checks the lines that end in this chunk.
    ///
    /// # Errors
    ///
    /// If one is not right.
    pub fn push(&mut self, mut chunk: &[u8]) -> Result<(), BackupError> {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = chunk.split_at(end + 1);
            chunk = rest;
            self.extend(line)?;
            self.decoder.line(&self.partial)?;
            self.partial.clear();
        }
        self.extend(chunk)
    }

    /// Returns what the backup has, after its last chunk.
    ///
    /// # Errors
    ///
    /// If the backup is not complete.
    pub fn end(self) -> Result<Summary, BackupError> {
        self.decoder.end(&self.partial)
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), BackupError> {
        if self.partial.len() + part.len() > MAX_LINE {
            return Err(self.decoder.error_in_next(Problem::too_long()));
        }
        self.partial.extend_from_slice(part);
        Ok(())
    }
}
