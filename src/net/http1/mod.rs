//! An HTTP/1 server with limits on the number, age and size of connections, and on the time that
//! it waits for clients; and a graceful shutdown.

mod clock;

use std::{convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::pin, task::Poll, time::Duration};

use axum::{
    Router,
    extract::ConnectInfo,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt as _};
use http::{Request, StatusCode, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{io::InspectReader, sync::CancellationToken};
use tower::Service as _;
use tracing::{debug, warn};

use self::clock::{RequestClock, RequestTimer, WaitLimits};
use super::{
    guarded_body::GuardedBody,
    host::check_one_host,
    places::{Full, Place, PlaceHandle, Places, Taken},
    tls::begins_tls,
};

/// Limits of an HTTP/1 server's connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Longest time from the first byte of a request to the end of its headers. For the first
    /// request of a connection it starts when the connection is accepted, so it includes a TLS
    /// handshake.
    pub(crate) header_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub(crate) idle_timeout: Duration,
    /// Longest age of a connection; after it, the connection serves no further request.
    pub(crate) max_age: Duration,
    /// Longest time for the request in flight to finish after `max_age` or after shutdown.
    pub(crate) grace: Duration,
    /// Bytes of a request's headers, and of response data that waits to be written.
    pub(crate) max_buffer: usize,
    /// Number of a request's headers.
    pub(crate) max_headers: usize,
}

/// What a limit on the number of connections has caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shed {
    /// The new connection was refused.
    Refused(Full),
    /// A connection without a request was closed to make room for the new one.
    Replaced(Full),
}

/// Serves the connections of `incoming` until `shutdown` is cancelled and the requests in
/// flight have ended. Dropping the future closes all connections.
///
/// `handshake` runs before HTTP, such as a TLS handshake. It returns the stream to use and
/// a value about the client that every request carries as an extension; use
/// [`no_handshake`] for plain HTTP. Requests also carry the connection's [`PlaceHandle`].
/// `on_shed` is called with the address of a new connection for which there was no free place.
pub(crate) async fn serve<Io, Handshake, Transport, Client>(
    incoming: impl Stream<Item = (Io, SocketAddr)>,
    handshake: impl Fn(Io, SocketAddr) -> Handshake,
    router: Router,
    places: Places,
    limits: ConnectionLimits,
    on_shed: impl Fn(SocketAddr, Shed),
    shutdown: CancellationToken,
) where
    Handshake: Future<Output = io::Result<(Transport, Client)>> + Send + 'static,
    Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Client: Clone + Send + Sync + 'static,
{
    let (mut incoming, mut open) = (Box::pin(incoming), JoinSet::new());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_ended) = open.join_next() => continue,
            accepted = incoming.next() => accepted,
        };
        let Some((io, peer)) = accepted else { break };
        let place = match places.take(peer.ip()) {
            Taken::Free(place) => place,
            Taken::Instead(place, full) => {
                on_shed(peer, Shed::Replaced(full));
                place
            }
            Taken::Refused(full) => {
                on_shed(peer, Shed::Refused(full));
                continue;
            }
            Taken::Unauthenticated => continue,
        };
        let connection = Connection { peer, router: router.clone(), limits, shutdown: shutdown.clone() };
        open.spawn(connection.serve(handshake(io, peer), place));
    }
    drop(incoming);
    while open.join_next().await.is_some() {}
}

/// The handshake of plain HTTP: none.
pub(crate) async fn no_handshake<Io>(io: Io, _peer: SocketAddr) -> io::Result<(Io, ())> {
    Ok((io, ()))
}

/// What it takes to serve one connection.
struct Connection {
    peer: SocketAddr,
    router: Router,
    limits: ConnectionLimits,
    shutdown: CancellationToken,
}

impl Connection {
    /// Serves the connection until it ends or loses its place.
    async fn serve<Transport, Client>(
        self,
        handshake: impl Future<Output = io::Result<(Transport, Client)>>,
        mut place: Place,
    ) where
        Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Client: Clone + Send + Sync + 'static,
    {
        let (peer, handle) = (self.peer, place.handle());
        tokio::select! {
            () = self.serve_in_place(handshake, handle) => {}
            why = place.closed() => debug!(%peer, ?why, "closed an HTTP connection that was not in use"),
        }
    }

    async fn serve_in_place<Transport, Client>(
        self,
        handshake: impl Future<Output = io::Result<(Transport, Client)>>,
        place: PlaceHandle,
    ) where
        Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Client: Clone + Send + Sync + 'static,
    {
        let peer = self.peer;
        let limits = WaitLimits { headers: self.limits.header_timeout, idle: self.limits.idle_timeout };
        let clock = RequestClock::start(limits);
        let handshake = tokio::select! {
            result = timeout(limits.headers, handshake) => result,
            () = self.shutdown.cancelled() => return,
        };
        match handshake {
            Ok(Ok((io, client))) => self.serve_requests(io, client, place, clock).await,
            Ok(Err(error)) => debug!(%peer, %error, "the handshake before HTTP failed"),
            Err(_elapsed) => debug!(%peer, "the handshake before HTTP timed out"),
        }
    }

    async fn serve_requests<Io>(
        self,
        io: Io,
        client: impl Clone + Send + Sync + 'static,
        place: PlaceHandle,
        clock: RequestClock,
    ) where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { peer, router, limits, shutdown } = self;
        let io = InspectReader::new(io, {
            let (clock, mut first) = (clock.clone(), true);
            // The slice is empty at the end of the stream.
            move |bytes: &[u8]| {
                if !bytes.is_empty() {
                    clock.received();
                }
                if std::mem::take(&mut first) && begins_tls(bytes) {
                    warn!(%peer, "a client sent TLS to an HTTP address without TLS: it must connect with http, or the server needs --tls-cert-file and --tls-key-file");
                }
            }
        });
        let mut timer = RequestTimer::new(clock.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let responding = clock.request();
            place.touch();
            let response = match check_one_host(request.version(), request.headers()) {
                Ok(()) => {
                    let extensions = request.extensions_mut();
                    extensions.insert(ConnectInfo(peer));
                    extensions.insert(client.clone());
                    extensions.insert(place.clone());
                    Ok(router.clone().call(request))
                }
                Err(problem) => Err(bad_request(problem)),
            };
            async move {
                let response = match response {
                    Ok(response) => response.await?,
                    Err(rejected) => rejected,
                };
                Ok::<_, Infallible>(response.map(|body| GuardedBody::new(body, responding)))
            }
        });
        let mut http1 = hyper::server::conn::http1::Builder::new();
        http1.header_read_timeout(None).max_buf_size(limits.max_buffer).max_headers(limits.max_headers);
        let mut connection = pin!(http1.serve_connection(TokioIo::new(io), service));
        // Resolves to an error if the client is too slow.
        let mut serve = async |close: bool| {
            if close {
                connection.as_mut().graceful_shutdown();
            }
            poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Ok(ended)),
                Poll::Pending => timer.poll(cx).map(Err),
            })
            .await
        };
        let ended = tokio::select! {
            ended = serve(false) => Some(ended),
            () = shutdown.cancelled() => None,
            () = sleep(limits.max_age) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => match timeout(limits.grace, serve(true)).await {
                Ok(ended) => ended,
                Err(_elapsed) => {
                    return warn!(%peer, "closed an HTTP connection: its last request exceeded the grace period");
                }
            },
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%peer, %error, "an HTTP connection ended with an error"),
            Err(()) => debug!(%peer, "closed an HTTP connection: no request in time"),
        }
    }
}

/// The response to a request that is not valid HTTP, after which the connection is closed.
fn bad_request(problem: &str) -> Response {
    let body = format!("400 Bad Request: {problem}\n");
    (StatusCode::BAD_REQUEST, [(CONNECTION, "close")], body).into_response()
}

#[cfg(test)]
mod tests;
