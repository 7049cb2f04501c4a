//! TLS of the listeners.

use std::{path::PathBuf, time::Duration};

/// TLS of the gRPC and the HTTP server, and the access of callers without a credential.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The gRPC server's certificate; without one it uses no TLS.
    pub grpc: Option<CertificateFiles>,
    /// The HTTP server's certificate; without one it uses no TLS.
    pub http: Option<CertificateFiles>,
    /// PEM file of the CAs that issue client certificates; without one client certificates are
    /// ignored.
    pub client_ca_file: Option<PathBuf>,
    /// Time between two checks of the files for changes: 5 s, as for the Kubernetes API.
    pub reload_interval: Duration,
    /// Whether callers without a credential may do everything on every listener. By default they
    /// may on listeners on loopback without TLS.
    pub insecure_allow_anonymous: bool,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The flags that name the files, for messages.
    pub flags: [&'static str; 2],
    /// PEM file of the certificate and those of its issuers.
    pub cert_file: PathBuf,
    /// PEM file of the certificate's private key.
    pub key_file: PathBuf,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            grpc: None,
            http: None,
            client_ca_file: None,
            reload_interval: Duration::from_secs(5),
            insecure_allow_anonymous: false,
        }
    }
}
