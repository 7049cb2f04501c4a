//! A server with TLS behind a front proxy, and its clients.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use headcount::{
    app::App,
    config::{CertificateFiles, Config, FrontProxySettings, KubeSettings, KubeTls},
};
use http::{Method, Request};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    sign::CertifiedKey,
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) use crate::http_response::{HttpResponse, soon};
use crate::pki::{Authority, Pair};

/// The DNS name by which kube-apiserver connects to the Service.
pub(crate) const NAME: &str = "headcount.headcount-system.svc";

pub(crate) const RESOURCES: &str = "/apis/kuma.io/v1alpha1";
pub(crate) const WORKLOADS: &str = "/apis/kuma.io/v1alpha1/workloads";
pub(crate) const VALIDATE: &str = "/validate-v1-pod?timeout=5s";
pub(crate) const MUTATE: &str = "/mutate-v1-pod?timeout=5s";

/// The TLS files of a server, in a temporary directory.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a written file");
    }

    pub(crate) fn write_pair(&self, pair: &Pair) {
        self.write("tls.crt", &pair.cert);
        self.write("tls.key", &pair.key);
    }

    pub(crate) fn tls(&self) -> KubeTls {
        KubeTls {
            files: CertificateFiles {
                flags: ["kube-tls-cert-file", "kube-tls-key-file"],
                cert_file: self.path("tls.crt"),
                key_file: self.path("tls.key"),
            },
            front_proxy: None,
            reload_interval: Duration::from_millis(10),
        }
    }
}

/// Starts a server on loopback, with changed settings.
pub(crate) async fn start(tls: Option<KubeTls>, set: impl FnOnce(&mut KubeSettings)) -> anyhow::Result<App> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut kube = KubeSettings { addr: Some(any), tls, ..KubeSettings::default() };
    set(&mut kube);
    let config = Config { grpc_addr: any, http_addr: any, kube, ..Config::default() };
    soon("start", App::start(config)).await
}

/// A server behind kube-apiserver, and the authorities of both.
pub(crate) struct Site {
    pub(crate) app: App,
    pub(crate) files: Files,
    /// Issues the server's certificate.
    pub(crate) serving: Authority,
    /// Issues the certificate that kube-apiserver presents.
    pub(crate) front_proxy: Authority,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut KubeSettings)) -> Self {
        let (files, serving, front_proxy) = (Files::new(), Authority::new(), Authority::new());
        files.write_pair(&serving.server(&[NAME]));
        files.write("ca.crt", &front_proxy.pem);
        let proxy = FrontProxySettings {
            ca_file: files.path("ca.crt"),
            allowed_names: vec!["front-proxy-client".into(), "aggregator".into()],
        };
        let tls = KubeTls { front_proxy: Some(proxy), ..files.tls() };
        let app = start(Some(tls), set).await.expect("the server starts");
        Self { app, files, serving, front_proxy }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.app.addresses().kube.expect("an address of the Kubernetes API")
    }

    /// A client that presents this certificate, if any.
    pub(crate) fn client(&self, certificate: Option<&Pair>) -> Client {
        Client::new(self.addr(), &self.serving, certificate)
    }

    /// A client with the certificate of kube-apiserver.
    pub(crate) fn aggregator(&self) -> Client {
        self.client(Some(&self.front_proxy.client("front-proxy-client")))
    }
}

/// An HTTPS client.
pub(crate) struct Client {
    addr: SocketAddr,
    config: ClientConfig,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, serving: &Authority, certificate: Option<&Pair>) -> Self {
        Self::of_versions(ALL_VERSIONS, addr, serving, certificate)
    }

    /// A client that supports these versions of TLS.
    pub(crate) fn of_versions(
        versions: &[&'static SupportedProtocolVersion],
        addr: SocketAddr,
        serving: &Authority,
        certificate: Option<&Pair>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(parse_certificate(&serving.pem)).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => config.with_no_client_auth(),
            Some(Pair { cert, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                let key = ring::default_provider().key_provider.load_private_key(key).expect("a key");
                let certified = CertifiedKey::new(vec![parse_certificate(cert)], key);
                config.with_client_cert_resolver(Arc::new(UncheckedCertificate(Arc::new(certified))))
            }
        };
        // As Go's clients do.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { addr, config }
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let io = TcpStream::connect(self.addr).await?;
        let name = ServerName::try_from(NAME).expect("a name");
        soon("the handshake", TlsConnector::from(Arc::new(self.config.clone())).connect(name, io)).await
    }

    /// Opens a connection for several requests.
    pub(crate) async fn open(&self) -> Connection {
        let io = self.connect().await.expect("TLS");
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.expect("HTTP");
        tokio::spawn(connection);
        Connection(sender)
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> HttpResponse {
        self.open().await.request(Method::GET, path, headers, "").await
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> HttpResponse {
        self.open().await.request(method, path, headers, body).await
    }

    /// Calls a webhook as kube-apiserver does.
    pub(crate) async fn review(&self, path: &str, review: &str) -> HttpResponse {
        self.request(Method::POST, path, &[("content-type", "application/json")], review).await
    }
}

/// An open connection.
pub(crate) struct Connection(http1::SendRequest<Full<Bytes>>);

impl Connection {
    pub(crate) async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> HttpResponse {
        let mut request = Request::builder().method(method).uri(path).header("host", NAME);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
        HttpResponse::read(path, soon(path, self.0.send_request(request)).await.expect("a response")).await
    }
}

/// Presents a certificate without a check that the key belongs to it.
#[derive(Debug)]
struct UncheckedCertificate(Arc<CertifiedKey>);

impl ResolvesClientCert for UncheckedCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn parse_certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}
