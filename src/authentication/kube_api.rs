//! A client of kube-apiserver.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{
    Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use crate::net::{
    client::TokenFile,
    tls::{ClientTls, PemFile},
};

/// Longest time for a request, with the connection that it may need.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest response, in bytes.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
const HTTPS: u16 = 443;

/// Files of a client of kube-apiserver, which are read again for each connection and each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KubeApiFiles {
    /// The CA that issued kube-apiserver's certificate.
    pub(super) ca: PathBuf,
    /// The token of the server's own `ServiceAccount`.
    pub(super) token: PathBuf,
}

/// A client of kube-apiserver, with one connection.
#[derive(Debug)]
pub(super) struct KubeApi {
    host: String,
    port: u16,
    tls: Arc<ClientTls>,
    token: TokenFile,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl KubeApi {
    /// A client of the server at `uri`; none if that has no host.
    pub(super) fn new(uri: &Uri, files: &KubeApiFiles) -> Option<Self> {
        let host = uri.host()?;
        let ca = PemFile::new("access-file: kubeApiServer.caFile", &files.ca);
        Some(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(HTTPS),
            tls: Arc::new(ClientTls::new(ca, None, ClientTls::parse_name(host)?)),
            token: TokenFile::of_setting("access-file: kubeApiServer.tokenFile", &files.token),
            connection: Mutex::default(),
        })
    }

    /// Returns the body of a successful response.
    ///
    /// # Errors
    ///
    /// If the server can't be reached within 5 s, or responds with an error.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// As [`KubeApi::get`], for a POST of a JSON document.
    ///
    /// # Errors
    ///
    /// As [`KubeApi::get`].
    pub(super) async fn post(&self, path: &str, json: Vec<u8>) -> anyhow::Result<Bytes> {
        self.request(Method::POST, path, json.into()).await
    }

    async fn request(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let response = timeout(TIMEOUT, self.send(method, path, body)).await;
        let response = response.unwrap_or_else(|_elapsed| bail!("no response within {TIMEOUT:?}"));
        let response =
            response.with_context(|| format!("kube-apiserver at {}:{}: {path}", self.host, self.port));
        if response.is_err() {
            *self.connection.lock().await = None;
        }
        response
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let token = self.token.read_async().await?;
        let authority = if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{authority}{path}"))
            .header(AUTHORIZATION, token.header())
            // A JWK set has a media type of its own.
            .header(ACCEPT, "application/json, application/jwk-set+json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let mut connection = self.connection().await?;
        let (head, body) = connection.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("can't read the response ({error})"))?.to_bytes();
        match head.status {
            StatusCode::OK | StatusCode::CREATED => Ok(body),
            status => bail!("{status}: {}", message(&body)),
        }
    }

    /// The connection, opened if there is none.
    async fn connection(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let stream = self.tls.connect(stream).await?;
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // It ends with the last sender.
        tokio::spawn(driver);
        Ok(connection.insert(sender).clone())
    }
}

/// The message of a Kubernetes `Status`, which says what the server's `ServiceAccount` may not do.
fn message(body: &[u8]) -> String {
    let status: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = status.as_ref().and_then(|status| status["message"].as_str());
    message.unwrap_or("no message").to_owned()
}
