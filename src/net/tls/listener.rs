//! A listener's TLS and the files of its certificate.

use std::{fmt, sync::Arc, time::Duration};

use rustls::sign::CertifiedKey;

use super::{
    PemFile, Reloading, Tls,
    certified::server_certificate,
    serve::{ClientCertificates, Protocol},
};

/// TLS of one listener. Its certificate is reloaded when the files change.
pub(crate) struct TlsListener {
    tls: Tls,
    certificate: Reloading<CertifiedKey, 2>,
}

impl TlsListener {
    /// Loads a certificate and its private key.
    ///
    /// # Errors
    ///
    /// If a file can't be read, its contents are invalid, or the certificate is not valid now.
    pub(crate) fn load(
        cert: PemFile,
        key: PemFile,
        protocol: Protocol,
        clients: ClientCertificates,
    ) -> anyhow::Result<Self> {
        let certificate = Reloading::load([cert, key], server_certificate)?;
        let tls = Tls::new(Arc::clone(&certificate.current()), protocol, clients)?;
        Ok(Self { tls, certificate })
    }

    /// Accepts connections.
    pub(crate) fn tls(&self) -> Tls {
        self.tls.clone()
    }

    /// Reloads the files until dropped.
    pub(crate) async fn run(self, interval: Duration) {
        self.certificate.run(interval).await;
    }
}

impl fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener").finish_non_exhaustive()
    }
}
