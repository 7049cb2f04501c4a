//! The server's side of TLS.

use std::{fmt, io, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::reload::Current;

/// The one protocol that is spoken. Where a client could choose HTTP/2 it would put
/// a thousand requests into one connection, and the bound of connections would bound
/// nothing.
const HTTP1: &[u8] = b"http/1.1";

/// Speaks TLS with whoever connects.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

/// The certificates that a client has shown: its own, whose key it has proved to
/// have, and those of its issuers. Whether anybody vouches for them is another
/// question.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown(Option<Arc<[CertificateDer<'static>]>>);

impl Shown {
    pub(super) fn new(certificates: Option<&[CertificateDer<'static>]>) -> Self {
        Self(certificates.map(Arc::from))
    }

    /// Its own comes first.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Tls {
    /// With the newest of `own`, and asking clients for a certificate if `asks`.
    pub(crate) fn new(own: Arc<Current<CertifiedKey>>, asks: bool) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        // 1.2 for kube-apiservers in FIPS mode, some of which speak nothing newer.
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = if asks {
            config.with_client_cert_verifier(Arc::new(AskOnly(provider)))
        } else {
            config.with_no_client_auth()
        };
        let mut config = config.with_cert_resolver(Arc::new(Newest(own)));
        config.alpn_protocols = vec![HTTP1.to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Greets a client. How long that may take is the caller's affair.
    pub(crate) async fn greet<Io>(&self, io: Io) -> io::Result<(TlsStream<Io>, Shown)>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.0.accept(io).await?;
        let shown = Shown::new(stream.get_ref().1.peer_certificates());
        Ok((stream, shown))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// One certificate for all names, which is the newest.
#[derive(Debug)]
struct Newest(Arc<Current<CertifiedKey>>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }
}

/// Asks for a certificate, and has the client prove that it has the key. Who issued
/// it is not asked here: webhook calls and probes come without one, or with one that
/// is meant for somebody else, and are welcome.
#[derive(Debug)]
struct AskOnly(Arc<CryptoProvider>);

impl ClientCertVerifier for AskOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Without a hint a client shows whatever it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, own, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, own, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
