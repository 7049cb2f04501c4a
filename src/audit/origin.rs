//! Where a request comes from.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use tonic::transport::server::TcpConnectInfo;

use super::RequestId;

/// Where a request comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address of the client, or of the proxy in front of it.
    pub peer: Option<SocketAddr>,
    /// The id of the request.
    pub(super) request_id: RequestId,
}

impl Origin {
    /// Reads the origin of a request. A server that has determined its [`RequestId`] has added that to
    /// the extensions.
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let request_id = extensions.get().cloned().unwrap_or_else(|| RequestId::of(headers));
        Self { peer: peer(extensions), request_id }
    }
}

/// The address of the client, as axum's or tonic's connections state it.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let http = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    http.or_else(|| extensions.get::<TcpConnectInfo>()?.remote_addr())
}
