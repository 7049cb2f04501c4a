//! Serves connections: each until its client closes it, it has been idle for too long or has
//! reached its maximum age, or until the server drains and its last stream has ended.

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use futures_util::{Stream, StreamExt as _, poll};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;
use tower::Service as _;
use tracing::debug;

use super::{
    lifetime::ConnectionAge,
    observe::{Observed, ObservedBody},
    preface::Connection,
};
use crate::{
    config::Limits,
    net::{
        guarded_body::GuardedBody,
        places::{Closing, InUse, PlaceHandle, Places},
        tls::PresentedCertificates,
    },
    runtime::coalescing_timer::CoalescingTimer,
};

/// Longest time until a connection without streams ends after its GOAWAY: for one round trip.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves connections until `shutdown` is cancelled and every stream has ended. Dropping
/// it closes the remaining connections.
pub(in crate::grpc) async fn serve<Io>(
    connections: impl Stream<Item = Connection<Io>>,
    places: Places,
    routes: Observed<Router>,
    limits: Arc<Limits>,
    shutdown: CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut connections = Box::pin(connections);
    let mut closing_idle = Box::pin(places.close_idle(limits.max_connection_idle));
    let (http2, mut open) = (http2(&limits), JoinSet::new());
    loop {
        let connection = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_ended) = open.join_next() => continue,
            connection = connections.next() => connection,
            () = &mut closing_idle => continue,
        };
        let Some(connection) = connection else { break };
        let server = ConnectionServer {
            http2: http2.clone(),
            routes: routes.clone(),
            age: limits.max_connection_age.map(|age| age.mul_f64(0.9 + 0.2 * fastrand::f64())),
            grace: limits.max_connection_age_grace,
            shutdown: shutdown.clone(),
        };
        open.spawn(server.serve(connection));
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

/// What it takes to serve one connection.
struct ConnectionServer {
    http2: http2::Builder<TokioExecutor>,
    routes: Observed<Router>,
    /// When this connection reaches its maximum age, if there is one.
    age: Option<Duration>,
    grace: Duration,
    shutdown: CancellationToken,
}

/// Why the server ends a connection.
enum Ending {
    Shutdown,
    Place(Closing),
    Age,
}

impl ConnectionServer {
    async fn serve<Io>(self, connection: Connection<Io>)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Connection { io, peer, certificates, mut place } = connection;
        let aged = self.age.map(|_| CancellationToken::new());
        let service = PeerService {
            routes: self.routes,
            peer,
            certificates,
            place: place.handle(),
            age: ConnectionAge(aged.clone()),
        };
        let mut served = pin!(self.http2.serve_connection(TokioIo::new(io), service));
        let ending = tokio::select! {
            biased;
            ended = served.as_mut() => return log_end(peer, ended),
            () = self.shutdown.cancelled() => Ending::Shutdown,
            why = place.closed() => Ending::Place(why),
            () = reaches(self.age) => Ending::Age,
        };
        served.as_mut().graceful_shutdown();
        match ending {
            Ending::Shutdown => log_end(peer, served.await),
            Ending::Place(Closing::Replaced) => {
                // The new connection needs the file descriptor, so there is time for one write only.
                let _goaway = poll!(served);
                debug!(%peer, "closed a connection without a call to make room");
            }
            Ending::Place(Closing::Idle) => {
                debug!(%peer, "closing an idle connection");
                let _in_time = timeout(GOAWAY_TIMEOUT, served).await;
            }
            Ending::Age => {
                debug!(%peer, "a connection has reached its maximum age");
                if let Some(aged) = aged {
                    aged.cancel();
                }
                if timeout(self.grace, served).await.is_err() {
                    debug!(%peer, "closed a connection whose streams did not end in the grace period");
                }
            }
        }
    }
}

/// Waits until the age of a connection, which begins now; forever if there is none.
async fn reaches(age: Option<Duration>) {
    match age {
        Some(age) => Box::pin(sleep(age)).await,
        None => pending().await,
    }
}

fn log_end(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended with an error");
    }
}

/// All services for the requests of one peer.
struct PeerService {
    routes: Observed<Router>,
    peer: SocketAddr,
    certificates: PresentedCertificates,
    place: PlaceHandle,
    age: ConnectionAge,
}

impl hyper::service::Service<Request<Incoming>> for PeerService {
    type Response = Response<GuardedBody<ObservedBody<axum::body::Body>, InUse>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let in_use = self.place.begin_use();
        // tonic's `Request::remote_addr` reads this extension.
        let peer = TcpConnectInfo { local_addr: None, remote_addr: Some(self.peer) };
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(self.place.clone());
        request.extensions_mut().insert(self.age.clone());
        if !self.certificates.certificates().is_empty() {
            request.extensions_mut().insert(self.certificates.clone());
        }
        let response = self.routes.clone().call(request);
        Box::pin(async move { Ok(response.await?.map(|body| GuardedBody::new(body, in_use))) })
    }
}
