//! PEM files.

use std::{
    io::{self, Read as _},
    path::{self, PathBuf},
};

use anyhow::{Context as _, bail};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::runtime::limited_file::open_regular;

/// Largest file that is read, in bytes: as much as a Kubernetes Secret or `ConfigMap` can
/// hold. A path may name an endless device.
const MAX_BYTES: u64 = 1024 * 1024;

/// Part of the header of an encrypted private key.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// A PEM file and the setting that names it.
#[derive(Debug, Clone)]
pub(crate) struct PemFile {
    /// The flag's name, without dashes.
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
}

/// The content of a PEM file. It may be a private key, so it is never printed.
pub(super) type Text = Vec<u8>;

impl PemFile {
    pub(crate) fn new(setting: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { setting, path: path.into() }
    }

    /// The setting and the path, as error messages name them.
    pub(crate) fn source(&self) -> String {
        format!("--{} {}", self.setting, self.path.display())
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If the file can't be read, is no regular file or is larger than 1 MiB.
    pub(super) fn read(&self) -> anyhow::Result<Text> {
        let read = || -> io::Result<Text> {
            let mut text = Text::new();
            open_regular(&self.path)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
            Ok(text)
        };
        let text = read().context("can't read it: check that it is there, and readable by this user");
        let text = text.with_context(|| self.source())?;
        if text.len() as u64 > MAX_BYTES {
            bail!("{}: larger than 1 MiB: give a file of PEM", self.source());
        }
        Ok(text)
    }

    /// Returns the file's absolute path, after a check that it holds certificates.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or holds no certificate.
    pub(crate) fn path_to_certificates(&self) -> anyhow::Result<PathBuf> {
        self.certificates(&self.read()?)?;
        path::absolute(&self.path).with_context(|| self.source())
    }

    /// Parses all certificates of `text`; there is at least one.
    ///
    /// # Errors
    ///
    /// If `text` is no PEM or has no certificate.
    pub(super) fn certificates(&self, text: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let all = all.map_err(|error| anyhow::anyhow!("is no PEM ({error})"));
        let all = all.with_context(|| self.source())?;
        if all.is_empty() {
            let source = self.source();
            bail!("{source}: has no certificate: there must be a block that begins with BEGIN CERTIFICATE");
        }
        Ok(all)
    }

    /// Parses the private key of `text`.
    ///
    /// # Errors
    ///
    /// If `text` has no private key, or an encrypted one.
    pub(super) fn private_key(&self, text: &[u8]) -> anyhow::Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(text).map_err(|_no_key| {
            let source = self.source();
            if text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
                return anyhow::anyhow!(
                    "{source}: the key is encrypted: decrypt it with `openssl pkey -in ENCRYPTED -out PLAIN`"
                );
            }
            anyhow::anyhow!(
                "{source}: has no private key: there must be a block that begins with BEGIN PRIVATE KEY, \
                 BEGIN EC PRIVATE KEY or BEGIN RSA PRIVATE KEY"
            )
        })
    }
}
