//! Files of keys and certificates.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::{
    authentication::token::SigningKey,
    cli::{
        Failure,
        new_file::{Existing, NewFile},
    },
};

/// The largest file that is read, in bytes: far more than a key has. A path may name an endless
/// device.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a signing key. The error is a problem of the flag, and does not quote the file.
pub(super) fn read_signing_key(path: &Path) -> Result<SigningKey, String> {
    let read = || -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
        let mut pem = zeroize::Zeroizing::new(Vec::new());
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut pem)?;
        Ok(pem)
    };
    let file = path.display();
    let pem = read().map_err(|error| format!("{file}: can't read it: {error}"))?;
    if pem.len() as u64 > MAX_BYTES {
        return Err(format!("{file}: larger than 64 KiB: give a file with one private key"));
    }
    SigningKey::from_pem(&pem).map_err(|error| format!("{file}: {error}"))
}

/// Writes a file that does not exist yet.
pub(super) fn write_new(flag: &'static str, path: &Path, contents: &str, mode: u32) -> Result<(), Failure> {
    let mut file = NewFile::create(flag, path, mode, Existing::Stays)?;
    file.write(contents.as_bytes())?;
    file.finish()
}
