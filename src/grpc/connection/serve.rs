//! Serves connections: each until its client closes it, or until the server drains and
//! its last stream has ended.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
};

use axum::Router;
use futures_util::{Stream, StreamExt as _};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;
use tower::Service as _;
use tracing::debug;

use super::{
    observe::{Observed, ObservedBody},
    preface::Connection,
};
use crate::{config::Limits, runtime::coalescing_timer::CoalescingTimer};

/// Serves connections until `shutdown` is cancelled and every stream has ended. Dropping
/// it closes the remaining connections.
pub(in crate::grpc) async fn serve<Io>(
    connections: impl Stream<Item = Connection<Io>>,
    routes: Observed<Router>,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut connections = Box::pin(connections);
    let (http2, mut open) = (http2(&limits), JoinSet::new());
    loop {
        let connection = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_ended) = open.join_next() => continue,
            connection = connections.next() => connection,
        };
        let Some(connection) = connection else { break };
        open.spawn(serve_connection(connection, http2.clone(), routes.clone(), shutdown.clone()));
    }
    drop(connections);
    while open.join_next().await.is_some() {}
}

/// HTTP/2 with the configured bounds.
fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(CoalescingTimer::new())
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .max_concurrent_streams(limits.max_streams_per_connection)
        .initial_stream_window_size(limits.http2.stream_window)
        .initial_connection_window_size(limits.http2.connection_window)
        .max_header_list_size(limits.http2.max_header_bytes)
        .max_send_buf_size(limits.http2.send_buffer)
        .max_pending_accept_reset_streams(limits.http2.max_pending_resets)
        .max_local_error_reset_streams(limits.http2.max_error_resets)
        // gRPC does not use the header.
        .auto_date_header(false);
    http2
}

async fn serve_connection<Io>(
    connection: Connection<Io>,
    http2: http2::Builder<TokioExecutor>,
    routes: Observed<Router>,
    shutdown: CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let peer = connection.peer();
    let service = PeerService { routes, peer };
    let mut served = pin!(http2.serve_connection(TokioIo::new(connection), service));
    let ended = tokio::select! {
        biased;
        ended = served.as_mut() => ended,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended with an error");
    }
}

/// All services for the requests of one peer.
struct PeerService {
    routes: Observed<Router>,
    peer: SocketAddr,
}

impl hyper::service::Service<Request<Incoming>> for PeerService {
    type Response = Response<ObservedBody<axum::body::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        // tonic's `Request::remote_addr` reads this extension.
        let peer = TcpConnectInfo { local_addr: None, remote_addr: Some(self.peer) };
        request.extensions_mut().insert(peer);
        self.routes.clone().call(request)
    }
}
