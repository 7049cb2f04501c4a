//! A server as its clients see it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use anyhow::Context as _;
use headcount::net::client::{Connection, ServerEndpoint};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Endpoint;
use tower::Service;

use crate::security::Security;

/// The address of a server, and the TLS and tokens with which its clients connect.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Remote {
    pub(crate) addr: SocketAddr,
    /// None for plaintext.
    pub(crate) security: Option<Security>,
}

impl Remote {
    pub(crate) fn uri(self) -> String {
        let scheme = if self.security.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// The server for an agent, which reads the file of the CA for each connection.
    pub(crate) fn agent_endpoint(self) -> anyhow::Result<ServerEndpoint> {
        Ok(match self.security {
            Some(security) => ServerEndpoint::tls(&self.uri(), security.ca_file())?,
            None => ServerEndpoint::plaintext(&self.uri())?,
        })
    }

    /// Opens a connection with the settings of an endpoint, and with a full handshake if it has TLS.
    pub(crate) async fn connect(self, endpoint: &Endpoint) -> anyhow::Result<Connection> {
        let channel = match self.security {
            Some(_) => endpoint.connect_with_connector(self.connector()?).await?,
            None => endpoint.connect().await?,
        };
        Ok(channel.into())
    }

    /// Opens TLS connections.
    ///
    /// # Errors
    ///
    /// If the server has no TLS.
    pub(crate) fn connector(self) -> anyhow::Result<Connector> {
        /// Reading the files for each of thousands of connections would be measured.
        static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
        let config = if let Some(config) = CONFIG.get() {
            config
        } else {
            let config = self.security.context("the server has no TLS")?.client_config()?;
            CONFIG.get_or_init(|| Arc::new(config))
        };
        Ok(Connector { addr: self.addr, tls: TlsConnector::from(Arc::clone(config)) })
    }

    /// The connection with the token of the dataplane with this number, if clients have tokens.
    pub(crate) fn as_dataplane(self, connection: Connection, number: usize) -> anyhow::Result<Connection> {
        Ok(match self.token(number)? {
            Some(token) => connection.with_tokens(token),
            None => connection,
        })
    }

    /// A new token for the dataplane with this number, if clients have tokens.
    pub(crate) fn token(self, number: usize) -> anyhow::Result<Option<watch::Receiver<String>>> {
        let token = self.security.map(|security| security.token(number)).transpose()?.flatten();
        // The value of a channel remains when its sender is dropped.
        Ok(token.map(|token| watch::channel(token).1))
    }
}

/// Opens TLS connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    addr: SocketAddr,
    tls: TlsConnector,
}

impl Connector {
    /// Connects, and performs the handshake.
    pub(crate) async fn connect(self) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.addr).await?;
        tcp.set_nodelay(true)?;
        self.tls.connect(ServerName::from(self.addr.ip()), tcp).await
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async { Ok(TokioIo::new(connector.connect().await?)) })
    }
}
