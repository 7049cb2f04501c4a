//! How clients connect to a server: the agent, the commands that call one, and simulated proxies.
//!
//! ```text
//! ServerEndpoint ─► Connector: TCP ─► ClientTls (CA, client certificate) ─► Channel ─┐
//!       └─────────► TokenFile ───────────────────────────────────────────────────────┴► Connection
//! ```
//!
//! The files are read again for each connection, and the token also for each call, so a file that is
//! replaced takes effect without a restart.

mod connection;
mod connector;
mod problem;
mod state;
#[cfg(test)]
pub(crate) mod test_server;
mod token_file;

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::{Uri, uri::Scheme};
use rustls::pki_types::ServerName;
use tonic::transport::{Endpoint, Error};

pub use self::{connection::Connection, problem::ConnectProblem};
use self::{connector::Connector, state::ConnectionState};
pub(crate) use self::{
    problem::causes,
    token_file::{Token, TokenFile},
};
use super::tls::{ClientTls, PemFile};
use crate::model::Invalid;

/// Longest time for DNS resolution, the TCP handshake and the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without data on a connection until an HTTP/2 PING. It is longer than the interval of the agent's
/// heartbeats and of a watch's keep-alives, which take the place of PINGs. A server that is lost without a
/// FIN (power, network) is detected within 6.5 s + 3 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(6_500);
/// Longest time from a PING to its ack.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A server to connect to, with the client's credentials.
#[derive(Debug, Clone)]
pub struct ServerEndpoint {
    endpoint: Endpoint,
    tls: Option<Arc<ClientTls>>,
    token: Option<TokenFile>,
}

impl ServerEndpoint {
    /// A server without TLS, and a client without a token.
    ///
    /// # Errors
    ///
    /// If `url` is not an `http://` URL with a host.
    pub fn plaintext(url: &str) -> Result<Self, Invalid> {
        let (uri, _) = parse(url, &Scheme::HTTP)?;
        Ok(Self::new(uri, None, None))
    }

    /// A server with TLS, whose certificate a CA in this PEM file has issued for the URL's host, and a
    /// client without a certificate and without a token.
    ///
    /// # Errors
    ///
    /// If `url` is not an `https://` URL with a host.
    pub fn tls(url: &str, ca_file: impl Into<PathBuf>) -> Result<Self, Invalid> {
        let (uri, name) = parse(url, &Scheme::HTTPS)?;
        let tls = ClientTls::new(PemFile::new("ca-file", ca_file), None, name);
        Ok(Self::new(uri, Some(tls), None))
    }

    /// A server at `uri`, which has scheme, host and port. `tls` is set if the scheme is `https`.
    pub(crate) fn new(uri: Uri, tls: Option<ClientTls>, token: Option<TokenFile>) -> Self {
        let endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Self { endpoint, tls: tls.map(Arc::new), token }
    }

    /// The server's URL.
    pub fn uri(&self) -> &Uri {
        self.endpoint.uri()
    }

    /// The settings of HTTP/2, for connections that the caller opens by its own means.
    pub fn http2(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects to the server. The connection reconnects by itself when a call finds it lost.
    ///
    /// # Errors
    ///
    /// If the server can't be reached, or TLS fails; see [`ConnectProblem::of`].
    pub async fn connect(&self) -> Result<Connection, Error> {
        let state = ConnectionState::default();
        let channel = self.endpoint.connect_with_connector(self.connector(&state)).await?;
        Ok(Connection::new(channel, self.token.clone(), state))
    }

    /// Returns a connection that is opened by the first call.
    pub fn connect_lazy(&self) -> Connection {
        let state = ConnectionState::default();
        let channel = self.endpoint.connect_with_connector_lazy(self.connector(&state));
        Connection::new(channel, self.token.clone(), state)
    }

    fn connector(&self, state: &ConnectionState) -> Connector {
        Connector::new(self.tls.clone(), CONNECT_TIMEOUT, state.clone())
    }
}

/// Parses the URL of a server, and the name in it.
fn parse(url: &str, scheme: &Scheme) -> Result<(Uri, ServerName<'static>), Invalid> {
    let invalid =
        || Invalid::new("server", format!("{url:?}: must be a URL such as {scheme}://127.0.0.1:7100"));
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    let name = uri.host().and_then(ClientTls::parse_name).filter(|_| uri.scheme() == Some(scheme));
    let name = name.ok_or_else(invalid)?;
    Ok((uri, name))
}

#[cfg(test)]
mod tests;
