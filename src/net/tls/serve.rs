//! TLS handshakes of a server.

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

/// The only protocol that a listener offers (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// With HTTP/2 a client could send a thousand requests on one connection, so a limit on
    /// connections would limit nothing.
    Http1,
    /// As gRPC requires.
    Http2,
}

/// Whether clients are asked for a certificate. They need not present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// Clients are asked for one.
    Requested,
    /// Clients are not asked.
    Ignored,
}

impl Protocol {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Accepts TLS connections with the current certificate.
#[derive(Clone)]
pub(crate) struct Tls(TlsAcceptor);

/// The certificates that a client presented: its own, whose private key it has proved to
/// own, and those of its issuers. They are not verified; see [`super::Authority::verify`].
#[derive(Debug, Clone, Default)]
pub(crate) struct PresentedCertificates(Option<Arc<[CertificateDer<'static>]>>);

impl PresentedCertificates {
    pub(super) fn new(certificates: Option<&[CertificateDer<'static>]>) -> Self {
        Self(certificates.map(Arc::from))
    }

    /// The client's own certificate comes first; empty if it presented none.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl Tls {
    /// A server that presents the current `certificate`.
    ///
    /// # Errors
    ///
    /// If the crypto provider supports no safe protocol version.
    pub(crate) fn new(
        certificate: Arc<Current<CertifiedKey>>,
        protocol: Protocol,
        clients: ClientCertificates,
    ) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        // Includes TLS 1.2, the newest that some kube-apiservers in FIPS mode support.
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = match clients {
            ClientCertificates::Requested => {
                config.with_client_cert_verifier(Arc::new(RequestOnly(provider)))
            }
            ClientCertificates::Ignored => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(CurrentCertificate(certificate)));
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Performs the handshake. The caller applies a timeout.
    ///
    /// # Errors
    ///
    /// If the handshake fails or the connection ends.
    pub(crate) async fn accept<Io>(self, io: Io) -> io::Result<(TlsStream<Io>, PresentedCertificates)>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.0.accept(io).await?;
        let presented = PresentedCertificates::new(stream.get_ref().1.peer_certificates());
        Ok((stream, presented))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// Presents the current certificate, whatever server name the client asks for.
#[derive(Debug)]
struct CurrentCertificate(Arc<Current<CertifiedKey>>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }
}

/// Requests a client certificate and checks that the client owns its private key, but does
/// not verify the issuer: webhook calls and probes come without a certificate or with one of
/// another authority, and must connect.
#[derive(Debug)]
struct RequestOnly(Arc<CryptoProvider>);

impl ClientCertVerifier for RequestOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Without hints a client presents any certificate that it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _issuers: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, leaf, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
