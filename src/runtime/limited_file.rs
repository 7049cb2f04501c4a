//! Reads text files of a limited size.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Opens a file that is read again and again.
///
/// # Errors
///
/// Also if it is no regular file: the open of a named pipe waits for a writer, and what was read from a
/// pipe is gone.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no regular file, and is read again and again"));
    }
    File::open(path)
}

/// As [`read_limited`], for a file that is read again and again.
///
/// # Errors
///
/// As [`open_regular`].
pub(crate) fn read_limited_regular(path: &Path, max_bytes: u64) -> io::Result<Option<String>> {
    read(open_regular(path)?, max_bytes)
}

/// Reads a UTF-8 file of at most `max_bytes`; returns none if it is larger. The limit also ends the
/// read of a path that names an endless device.
pub(crate) fn read_limited(path: &Path, max_bytes: u64) -> io::Result<Option<String>> {
    read(File::open(path)?, max_bytes)
}

fn read(file: File, max_bytes: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    // One more byte than allowed distinguishes a file at the limit from a larger one.
    file.take(max_bytes + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= max_bytes).then_some(text))
}
