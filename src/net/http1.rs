//! An HTTP/1 server with limits on the number, age and size of connections, and a graceful
//! shutdown.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo};
use futures_util::{Stream, StreamExt as _};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use tracing::{debug, warn};

/// Limits of an HTTP/1 server's connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// Open connections; further ones are closed at once.
    pub(crate) max_connections: usize,
    /// Longest time for the handshake before HTTP, such as TLS.
    pub(crate) handshake_timeout: Duration,
    /// Longest time for a request's headers to arrive; also how long a keep-alive connection
    /// may be idle.
    pub(crate) header_read_timeout: Duration,
    /// Longest age of a connection; after it, the connection serves no further request.
    pub(crate) max_age: Duration,
    /// Longest time for the request in flight to finish after `max_age` or after shutdown.
    pub(crate) grace: Duration,
    /// Bytes of a request's headers, and of response data that waits to be written.
    pub(crate) max_buffer: usize,
    /// Number of a request's headers.
    pub(crate) max_headers: usize,
}

/// Serves the connections of `incoming` until `shutdown` is cancelled and the requests in
/// flight have ended. Dropping the future closes all connections.
///
/// `handshake` runs before HTTP, such as a TLS handshake. It returns the stream to use and
/// a value about the client that every request carries as an extension; use
/// [`no_handshake`] for plain HTTP. `on_refused` is called for each connection above
/// [`ConnectionLimits::max_connections`].
pub(crate) async fn serve<Io, Handshake, Transport, Client>(
    incoming: impl Stream<Item = (Io, SocketAddr)>,
    handshake: impl Fn(Io) -> Handshake,
    router: Router,
    limits: ConnectionLimits,
    on_refused: impl Fn(SocketAddr),
    shutdown: CancellationToken,
) where
    Handshake: Future<Output = io::Result<(Transport, Client)>> + Send + 'static,
    Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Client: Clone + Send + Sync + 'static,
{
    let (mut incoming, mut open) = (Box::pin(incoming), JoinSet::new());
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_ended) = open.join_next() => continue,
            accepted = incoming.next() => accepted,
        };
        let Some((io, peer)) = accepted else { break };
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => {
                let (handshake, router, shutdown) = (handshake(io), router.clone(), shutdown.clone());
                open.spawn(async move {
                    let handshake = tokio::select! {
                        result = timeout(limits.handshake_timeout, handshake) => result,
                        () = shutdown.cancelled() => return,
                    };
                    match handshake {
                        Ok(Ok(established)) => {
                            serve_connection(established, peer, router, limits, shutdown).await;
                        }
                        Ok(Err(error)) => debug!(%peer, %error, "the handshake before HTTP failed"),
                        Err(_elapsed) => debug!(%peer, "the handshake before HTTP timed out"),
                    }
                    drop(permit);
                });
            }
            Err(_none_left) => on_refused(peer),
        }
    }
    drop(incoming);
    while open.join_next().await.is_some() {}
}

/// The handshake of plain HTTP: none.
pub(crate) async fn no_handshake<Io>(io: Io) -> io::Result<(Io, ())> {
    Ok((io, ()))
}

async fn serve_connection<Io>(
    (io, client): (Io, impl Clone + Send + Sync + 'static),
    peer: SocketAddr,
    router: Router,
    limits: ConnectionLimits,
    shutdown: CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(client.clone());
        router.clone().call(request)
    });
    let mut http1 = hyper::server::conn::http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_buf_size(limits.max_buffer)
        .max_headers(limits.max_headers);
    let mut connection = pin!(http1.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        () = sleep(limits.max_age) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        match timeout(limits.grace, connection).await {
            Ok(ended) => ended,
            Err(_elapsed) => {
                return warn!(%peer, "closed an HTTP connection: its last request exceeded the grace period");
            }
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "an HTTP connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        max_connections: 1,
        handshake_timeout: Duration::from_secs(5),
        header_read_timeout: Duration::from_mins(1),
        max_age: Duration::from_mins(1),
        grace: Duration::from_mins(1),
        max_buffer: 8 * 1024,
        max_headers: 100,
    };

    /// A server with one connection whose handshake never completes, and that connection.
    fn unfinished_handshake(
        shutdown: &CancellationToken,
    ) -> (DuplexStream, impl Future<Output = ()> + use<>) {
        let (near, far) = duplex(64);
        let incoming = stream::iter([(far, SocketAddr::from(([127, 0, 0, 1], 1)))]).chain(stream::pending());
        let handshake = |io: DuplexStream| async move {
            let never: io::Result<(DuplexStream, ())> = pending().await;
            drop(io);
            never
        };
        (near, serve(incoming, handshake, Router::new(), LIMITS, |_| (), shutdown.clone()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_if_its_handshake_times_out() {
        let (mut near, served) = unfinished_handshake(&CancellationToken::new());
        let start = tokio::time::Instant::now();
        tokio::select! {
            () = served => unreachable!("the server runs until shutdown"),
            read = near.read_u8() => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
        }
        assert_eq!(start.elapsed(), LIMITS.handshake_timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_does_not_wait_for_handshakes() {
        let shutdown = CancellationToken::new();
        let (_near, served) = unfinished_handshake(&shutdown);
        let mut served = pin!(served);
        tokio::select! {
            () = served.as_mut() => unreachable!("the server runs until shutdown"),
            () = sleep(Duration::from_secs(1)) => shutdown.cancel(),
        }
        let start = tokio::time::Instant::now();
        served.await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
