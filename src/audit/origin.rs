//! Where a request comes from.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName};
use tonic::transport::server::TcpConnectInfo;

/// Headers with the id of a request: kube-apiserver's, and the one of Envoy and other proxies.
const REQUEST_ID: [HeaderName; 2] =
    [HeaderName::from_static("audit-id"), HeaderName::from_static("x-request-id")];
/// Longest id, in bytes: that of a UUID has 36.
const MAX_ID: usize = 64;

/// Where a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The address of the client, or of the proxy in front of it.
    pub peer: Option<SocketAddr>,
    /// The id that the client gave the request.
    pub(super) request_id: Option<Box<str>>,
}

impl Origin {
    /// Reads the origin of a request.
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let id = REQUEST_ID.iter().find_map(|name| headers.get(name)?.to_str().ok());
        let request_id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID).map(Box::from);
        Self { peer: peer(extensions), request_id }
    }
}

/// The address of the client, as axum's or tonic's connections state it.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let http = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    http.or_else(|| extensions.get::<TcpConnectInfo>()?.remote_addr())
}
