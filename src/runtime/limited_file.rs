//! Reads text files of a limited size.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Reads a UTF-8 file of at most `max_bytes`; returns none if it is larger. The limit also ends the
/// read of a path that names an endless device.
pub(crate) fn read_limited(path: &Path, max_bytes: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    // One more byte than allowed distinguishes a file at the limit from a larger one.
    File::open(path)?.take(max_bytes + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= max_bytes).then_some(text))
}
