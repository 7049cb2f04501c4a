//! TLS handshakes of a client.

use std::{
    io,
    net::IpAddr,
    path::Path,
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use anyhow::Context as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{certified_key, explain, pem::PemFile};
use crate::{net::client::ConnectProblem, runtime::blocking::spawn_blocking};

/// The only protocol offered (ALPN); gRPC requires HTTP/2.
const HTTP2: &[u8] = b"h2";

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// How a client uses TLS: the files of its CA and its certificate, which are read for each connection, and
/// the name that the server's certificate must have.
#[derive(Debug)]
pub(crate) struct ClientTls {
    pub(super) ca: PemFile,
    /// The client's certificate with its issuers, and its private key.
    pub(super) identity: Option<[PemFile; 2]>,
    pub(super) server_name: ServerName<'static>,
}

impl ClientTls {
    pub(crate) fn new(ca: PemFile, identity: Option<[PemFile; 2]>, server_name: ServerName<'static>) -> Self {
        Self { ca, identity, server_name }
    }

    /// Parses a host of a URL or a name for a certificate: an IP address, also in brackets, or a DNS name.
    pub(crate) fn parse_name(name: &str) -> Option<ServerName<'static>> {
        let host = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        match host.parse::<IpAddr>() {
            Ok(address) => Some(ServerName::from(address)),
            Err(_) => ServerName::try_from(host.trim_end_matches('.').to_owned()).ok(),
        }
    }

    /// The file of the CA.
    pub(crate) fn ca(&self) -> &Path {
        &self.ca.path
    }

    /// The files of the client's certificate and its private key.
    pub(crate) fn identity(&self) -> Option<[&Path; 2]> {
        self.identity.as_ref().map(|files| files.each_ref().map(|file| file.path.as_path()))
    }

    /// The name that the server's certificate must have.
    pub(crate) fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// Reads and parses the files.
    ///
    /// # Errors
    ///
    /// The setting, the file, what is wrong with it, and the remedy.
    pub(crate) fn config(&self) -> anyhow::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in self.ca.certificates(&self.ca.read()?)? {
            roots.add(certificate).with_context(|| {
                format!(
                    "{}: one of its certificates can't be used as a CA: give the certificates of the CA that issued the server's",
                    self.ca.source()
                )
            })?;
        }
        let config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            Some(identity) => {
                let pair = client_certificate(identity)?;
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(config)
    }

    /// Reads the files and performs the handshake. The caller applies a timeout.
    ///
    /// # Errors
    ///
    /// If a file can't be used, the server's certificate is not valid, or the server does not speak HTTP/2
    /// over TLS.
    pub(crate) async fn connect<Io>(self: &Arc<Self>, io: Io) -> Result<TlsStream<Io>, ConnectProblem>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let tls = Arc::clone(self);
        let config = match spawn_blocking(move || tls.config()).await {
            Some(Ok(config)) => config,
            Some(Err(error)) => return Err(explain::file(&error)),
            None => return Err(ConnectProblem::new("the process ends", "start it again")),
        };
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(self.server_name.clone(), io).await;
        let stream = stream.map_err(|error| explain::handshake(self, &error, SystemTime::now()))?;
        match stream.get_ref().1.alpn_protocol() {
            Some(HTTP2) => Ok(stream),
            _ => Err(explain::no_http2()),
        }
    }

    /// What an error after the handshake means; none if TLS has nothing to do with it. `received` is whether
    /// the server has sent anything since.
    pub(crate) fn explain(&self, error: &io::Error, received: bool) -> Option<ConnectProblem> {
        explain::after_handshake(self, error, received)
    }
}

/// Reads and parses a client's certificate and its private key.
///
/// # Errors
///
/// The setting, the file, what is wrong with it, and the remedy.
pub(crate) fn client_certificate([cert, key]: &[PemFile; 2]) -> anyhow::Result<CertifiedKey> {
    certified_key([(cert, &cert.read()?), (key, &key.read()?)])
}
