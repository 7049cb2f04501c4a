//! TLS handshakes of a server.

use std::{fmt, io, net::SocketAddr, sync::Arc};

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
use tracing::warn;

use super::{Unverified, failure::HandshakeFailure, reload::Current, verified_chain::VerifiedChain};
use crate::runtime::sync::Mutex;

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
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    on_failure: OnFailure,
}

/// Called for each handshake that does not complete.
type OnFailure = Arc<dyn Fn(HandshakeFailure) + Send + Sync>;

/// The certificates that a client presented: its own, whose private key it has proved to
/// own, and those of its issuers. They are not verified; see [`super::Authority::verify`].
#[derive(Debug, Clone, Default)]
pub(crate) struct PresentedCertificates(Option<Arc<Presented>>);

#[derive(Debug)]
struct Presented {
    certificates: Box<[CertificateDer<'static>]>,
    /// The latest verification by each authority, for the further requests of the connection.
    verified: Mutex<Vec<VerifiedChain>>,
}

impl PresentedCertificates {
    pub(super) fn new(certificates: Option<&[CertificateDer<'static>]>) -> Self {
        Self(certificates.map(|certificates| {
            Arc::new(Presented { certificates: certificates.into(), verified: Mutex::default() })
        }))
    }

    /// The client's own certificate comes first; empty if it presented none.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.0.as_deref().map_or(&[], |presented| &presented.certificates)
    }

    /// The result of an earlier verification, if it holds at `now`.
    pub(super) fn verified(
        &self,
        by: &Arc<dyn ClientCertVerifier>,
        now: UnixTime,
    ) -> Option<Result<(), Unverified>> {
        self.0.as_ref()?.verified.lock().iter().find_map(|chain| chain.get(by, now))
    }

    /// Keeps the result of a verification by this authority instead of its former one.
    pub(super) fn set_verified(&self, by: &Arc<dyn ClientCertVerifier>, chain: Option<VerifiedChain>) {
        if let Some(presented) = &self.0 {
            let mut verified = presented.verified.lock();
            verified.retain(|former| former.is_current() && !former.is_of(by));
            verified.extend(chain);
        }
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
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), on_failure: Arc::new(drop) })
    }

    /// Calls `on_failure` for each handshake that does not complete.
    pub(crate) fn on_failure(self, on_failure: impl Fn(HandshakeFailure) + Send + Sync + 'static) -> Self {
        Self { on_failure: Arc::new(on_failure), ..self }
    }

    /// Performs the handshake with `peer`. The caller applies a timeout.
    ///
    /// The stream is boxed, because it is more than a kilobyte, and each future that it is moved through
    /// would have a place of that size for as long as the connection lasts.
    ///
    /// # Errors
    ///
    /// If the handshake fails or the connection ends.
    pub(crate) async fn accept<Io>(
        self,
        io: Io,
        peer: SocketAddr,
    ) -> io::Result<(Box<TlsStream<Io>>, PresentedCertificates)>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let mut outcome =
            Outcome { failure: Some(HandshakeFailure::Unfinished), on_failure: self.on_failure };
        let accepted = self.acceptor.accept(io).await;
        outcome.failure = accepted.as_ref().err().map(HandshakeFailure::of);
        if outcome.failure == Some(HandshakeFailure::Plaintext) {
            warn!(%peer, "a client sent plaintext to an address with TLS: it must connect with https, and trust the server's certificate (--ca-file)");
        }
        let stream = Box::new(accepted?);
        let presented = PresentedCertificates::new(stream.get_ref().1.peer_certificates());
        Ok((stream, presented))
    }
}

/// The outcome of a handshake, which is reported when it is dropped: also if the caller drops the
/// handshake before its end.
struct Outcome {
    failure: Option<HandshakeFailure>,
    on_failure: OnFailure,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if let Some(failure) = self.failure {
            (self.on_failure)(failure);
        }
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
