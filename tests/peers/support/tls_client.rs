//! Connections with TLS of the test itself.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Error};

use super::DEADLINE;

/// A client of one server.
#[derive(Clone)]
pub(crate) struct TlsClient {
    config: ClientConfig,
}

/// A response of HTTP.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl TlsClient {
    /// A client that trusts this authority, and presents a certificate with its key if there is one; all in
    /// PEM.
    pub(crate) fn new(authority: &str, certificate: Option<[&str; 2]>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots);
        let config = match certificate {
            None => config.with_no_client_auth(),
            Some([cert, key]) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        Self { config }
    }

    /// Opens a gRPC connection, from this address if it is given.
    pub(crate) async fn connect(&self, address: SocketAddr, from: Option<IpAddr>) -> Result<Channel, Error> {
        let client = self.clone();
        let connector = tower::service_fn(move |_| {
            let client = client.clone();
            async move { client.handshake(address, from, b"h2").await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_with_connector(connector).await
    }

    /// Sends a GET with further headers, each ended by a line break.
    pub(crate) async fn get(&self, address: SocketAddr, path: &str, headers: &str) -> Response {
        let response = async {
            let mut stream = self.handshake(address, None, b"http/1.1").await?;
            // HTTP/1.0: the body ends with the connection and is not chunked.
            let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut response = String::new();
            stream.read_to_string(&mut response).await.map(|_| response)
        };
        let response = timeout(DEADLINE, response).await.expect("a response in time").expect("a response");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Response { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn handshake(
        &self,
        address: SocketAddr,
        from: Option<IpAddr>,
        protocol: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        let tls = TlsConnector::from(Arc::new(config));
        tls.connect(ServerName::IpAddress(address.ip().into()), socket.connect(address).await?).await
    }
}

impl Response {
    /// The value of a header, whose name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }
}
