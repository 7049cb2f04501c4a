//! Why a handshake failed.

use std::io;

use rustls::{Error, InvalidMessage};

/// Why a TLS handshake did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// The client does not speak TLS.
    Plaintext,
    /// The client and the server have no protocol version, cipher suite or ALPN protocol in common.
    Incompatible,
    /// The client sent an alert: most often, it does not trust the server's certificate.
    Rejected,
    /// The client closed the connection.
    Closed,
    /// The client did not finish in time, or its place was needed.
    Unfinished,
    /// The client violated the protocol.
    Invalid,
}

impl HandshakeFailure {
    /// All reasons.
    pub(crate) const ALL: [Self; 6] =
        [Self::Plaintext, Self::Incompatible, Self::Rejected, Self::Closed, Self::Unfinished, Self::Invalid];

    /// The name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Incompatible => "incompatible",
            Self::Rejected => "rejected",
            Self::Closed => "closed",
            Self::Unfinished => "unfinished",
            Self::Invalid => "invalid",
        }
    }

    /// The reason of an error of `tokio_rustls`.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            // The first byte of a record has five valid values, none of which is a letter.
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::Plaintext,
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Self::Incompatible,
            Some(Error::AlertReceived(_)) => Self::Rejected,
            Some(_) => Self::Invalid,
            None => Self::Closed,
        }
    }
}

/// Whether these first bytes of a connection begin a TLS handshake: a record of type 22 with the
/// major version 3.
pub(crate) fn begins_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [22] | [22, 3, ..])
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc, time::Duration};

    use parking_lot::Mutex;
    use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::timeout,
    };
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::{
        net::tls::{ClientCertificates, PemFile, Protocol, Tls, TlsListener, pki},
        runtime::captured_log::CapturedLog,
    };

    fn server() -> (Tls, Arc<Mutex<Vec<HandshakeFailure>>>) {
        let (directory, pair) = (tempfile::tempdir().unwrap(), pki::Authority::new().server(&["localhost"]));
        let (cert, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
        fs::write(&cert, pair.cert).unwrap();
        fs::write(&key, pair.key).unwrap();
        let (cert, key) = (PemFile::new("tls-cert-file", cert), PemFile::new("tls-key-file", key));
        let listener = TlsListener::load(cert, key, Protocol::Http2, ClientCertificates::Ignored).unwrap();
        let failures = Arc::<Mutex<Vec<_>>>::default();
        let counted = Arc::clone(&failures);
        (listener.tls().on_failure(move |failure| counted.lock().push(failure)), failures)
    }

    /// The failures that are counted of one client's handshake. It has 5 s.
    async fn failures(client: impl AsyncFnOnce(DuplexStream)) -> Vec<HandshakeFailure> {
        let ((near, far), (tls, counted)) = (duplex(64 * 1024), server());
        let accept = timeout(Duration::from_secs(5), tls.accept(far, ([127, 0, 0, 1], 1).into()));
        let (accepted, ()) = tokio::join!(accept, client(near));
        assert!(!matches!(accepted, Ok(Ok(_))));
        counted.lock().clone()
    }

    async fn send(mut io: DuplexStream, bytes: &[u8]) {
        io.write_all(bytes).await.unwrap();
        let _alert_or_end = io.read_to_end(&mut Vec::new()).await;
    }

    /// A client that trusts no server and offers this protocol.
    async fn connect(io: DuplexStream, alpn: &[u8]) {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(name, io).await;
        assert!(connected.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_handshake_is_counted_once_with_its_reason() {
        use HandshakeFailure::{Closed, Incompatible, Invalid, Plaintext, Rejected, Unfinished};
        let log = CapturedLog::start();
        let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(failures(async |io| send(io, http2).await).await, [Plaintext]);
        assert_eq!(failures(async |io| send(io, b"GET / HTTP/1.1\r\n\r\n").await).await, [Plaintext]);
        assert_eq!(log.with("sent plaintext to an address with TLS: it must connect with https").len(), 2);
        assert_eq!(failures(async |io| connect(io, b"http/1.1").await).await, [Incompatible]);
        assert_eq!(failures(async |io| connect(io, b"h2").await).await, [Rejected]);
        assert_eq!(failures(async |io| drop(io)).await, [Closed]);
        assert_eq!(failures(async |io| send(io, &[22, 3, 1, 0, 4, 99, 0, 0, 0]).await).await, [Invalid]);
        assert_eq!(failures(async |io| send(io, &[22, 3, 1]).await).await, [Unfinished]);
        assert_eq!(log.with("WARN").len(), 2, "only plaintext is a mistake of an operator");
    }

    #[test]
    fn the_first_bytes_of_tls_differ_from_those_of_http() {
        assert!(begins_tls(&[22]) && begins_tls(&[22, 3]) && begins_tls(&[22, 3, 1, 2, 0]));
        for other in [&b""[..], b"PRI * HTTP/2.0", b"GET /", &[22, 2, 0], &[23, 3, 3]] {
            assert!(!begins_tls(other), "{other:?}");
        }
    }
}
