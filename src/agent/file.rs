//! Files that others write.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Reads a text of at most `max` bytes; none if there are more. A wrong path may
/// lead to something that has no end.
pub(super) fn read_at_most(path: &Path, max: u64) -> io::Result<Option<String>> {
    let mut text = String::new();
    // One byte more than allowed tells a full file from one that goes on.
    File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= max).then_some(text))
}
