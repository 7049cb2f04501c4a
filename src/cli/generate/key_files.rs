//! Files of keys and certificates.

use std::{
    fs::{File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, anyhow};
use tempfile::NamedTempFile;

use crate::{
    authentication::token::SigningKey,
    cli::Failure,
    runtime::files::{parent, sync_directory},
};

/// Permissions of a private key's file.
pub(super) const PRIVATE: u32 = 0o600;
/// Permissions of the file of a public key or a certificate.
pub(super) const PUBLIC: u32 = 0o644;

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

/// Checks that there is no file of this name yet.
pub(super) fn check_absent(flag: &str, path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() { Err(exists(flag, path)) } else { Ok(()) }
}

/// Writes a file that does not exist yet. It gets its name when it is complete.
pub(super) fn write_new(flag: &str, path: &Path, contents: &str, mode: u32) -> Result<(), Failure> {
    let cannot_write = || format!("--{flag}: cannot write {}", path.display());
    let directory = parent(path);
    let mut file = NamedTempFile::with_prefix_in(".headcount-key-", directory).with_context(cannot_write)?;
    let write = |file: &mut NamedTempFile| {
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.write_all(contents.as_bytes())?;
        file.as_file().sync_all()
    };
    write(&mut file).with_context(cannot_write)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(sync_directory(directory).with_context(cannot_write)?),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(flag, path)),
        Err(error) => Err(anyhow!(error.error).context(cannot_write()).into()),
    }
}

fn exists(flag: &str, path: &Path) -> Failure {
    Failure::Usage(format!(
        "--{flag}: {} exists: choose another file; keys and certificates are never overwritten",
        path.display()
    ))
}
