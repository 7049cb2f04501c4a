//! A gRPC server over TLS for tests: it answers each call with `UNIMPLEMENTED`, and records the credentials.

use std::{net::SocketAddr, sync::Arc};

use http_body_util::Empty;
use hyper::{Response, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::net::tls::pki::{Authority, Pair};

/// Serves until the test's runtime ends.
pub(crate) struct TlsServer {
    pub(crate) address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    /// The `authorization` of each call.
    authorizations: Arc<Mutex<Vec<Option<String>>>>,
    /// The client certificate of each connection, in DER.
    certificates: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
}

/// A configuration with this certificate, which speaks HTTP/2.
pub(crate) fn config(pair: &Pair) -> ServerConfig {
    config_with(pair, None)
}

/// Like [`config`]; the server requires a client certificate of this authority.
pub(crate) fn config_with(pair: &Pair, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

impl TlsServer {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            config: Arc::new(Mutex::new(Arc::new(config))),
            authorizations: Arc::default(),
            certificates: Arc::default(),
        };
        let (config, authorizations) = (Arc::clone(&server.config), Arc::clone(&server.authorizations));
        let certificates = Arc::clone(&server.certificates);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = TlsAcceptor::from(Arc::clone(&config.lock()));
                let (authorizations, certificates) = (Arc::clone(&authorizations), Arc::clone(&certificates));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let presented = stream.get_ref().1.peer_certificates();
                    certificates.lock().push(presented.map(|chain| chain[0].to_vec()));
                    let respond = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let authorization = request.headers().get("authorization");
                        let text = authorization.map(|value| value.to_str().unwrap().to_owned());
                        authorizations.lock().push(text);
                        let response = Response::builder()
                            .header("content-type", "application/grpc")
                            .header("grpc-status", "12")
                            .body(Empty::<bytes::Bytes>::new());
                        std::future::ready(response)
                    });
                    let http2 = http2::Builder::new(TokioExecutor::new());
                    let _ended = http2.serve_connection(TokioIo::new(stream), respond).await;
                });
            }
        });
        server
    }

    /// Uses another configuration for later connections.
    pub(crate) fn replace(&self, config: ServerConfig) {
        *self.config.lock() = Arc::new(config);
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub(crate) fn authorizations(&self) -> Vec<Option<String>> {
        self.authorizations.lock().clone()
    }

    pub(crate) fn certificates(&self) -> Vec<Option<Vec<u8>>> {
        self.certificates.lock().clone()
    }
}
