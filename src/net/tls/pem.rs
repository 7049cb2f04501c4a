//! Files in PEM's form.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{self, PathBuf},
};

use anyhow::{Context as _, bail};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// As much as a Secret or a `ConfigMap` of Kubernetes can hold. A path may lead to
/// something without end.
const MOST_BYTES: u64 = 1024 * 1024;

/// A file that a setting names.
#[derive(Debug, Clone)]
pub(crate) struct PemFile {
    /// Without dashes.
    pub(crate) setting: &'static str,
    pub(crate) path: PathBuf,
}

/// What was read of a file. It may be a private key, so it is never shown.
pub(super) type Text = Vec<u8>;

impl PemFile {
    pub(crate) fn new(setting: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { setting, path: path.into() }
    }

    /// Says which setting and which file a problem is about.
    pub(super) fn place(&self) -> String {
        format!("--{} {}", self.setting, self.path.display())
    }

    pub(super) fn read(&self) -> anyhow::Result<Text> {
        let read = || -> io::Result<Text> {
            let mut text = Text::new();
            File::open(&self.path)?.take(MOST_BYTES + 1).read_to_end(&mut text)?;
            Ok(text)
        };
        let text = read().context("can't read it: check that it is there, and readable by this user");
        let text = text.with_context(|| self.place())?;
        if text.len() as u64 > MOST_BYTES {
            bail!("{}: larger than 1 MiB: give a file of PEM", self.place());
        }
        Ok(text)
    }

    /// Where it is, for whoever is elsewhere; fails unless it holds a certificate.
    pub(crate) fn path_to_certificates(&self) -> anyhow::Result<PathBuf> {
        self.certificates(&self.read()?)?;
        path::absolute(&self.path).with_context(|| self.place())
    }

    /// All certificates, of which there is one at least.
    pub(super) fn certificates(&self, text: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let all = all.map_err(|error| anyhow::anyhow!("is no PEM ({error})"));
        let all = all.with_context(|| self.place())?;
        if all.is_empty() {
            let place = self.place();
            bail!("{place}: has no certificate: there must be a block that begins with BEGIN CERTIFICATE");
        }
        Ok(all)
    }

    /// The private key.
    pub(super) fn private_key(&self, text: &[u8]) -> anyhow::Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_slice(text).map_err(|_no_key| {
            let place = self.place();
            if text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
                return anyhow::anyhow!(
                    "{place}: the key is encrypted: decrypt it with `openssl pkey -in ENCRYPTED -out PLAIN`"
                );
            }
            anyhow::anyhow!(
                "{place}: has no private key: there must be a block that begins with BEGIN PRIVATE KEY, \
                 BEGIN EC PRIVATE KEY or BEGIN RSA PRIVATE KEY"
            )
        })
    }
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";
