//! Connections of HTTP/1: bounded in number and in time, and drained.

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

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Open at a time.
    pub(crate) connections: usize,
    /// For what comes before HTTP, if anything does.
    pub(crate) greeting: Duration,
    /// For a request's headers to arrive, also on a connection that is kept.
    pub(crate) header_time: Duration,
    /// Of a connection's life, after which it takes no more requests.
    pub(crate) life: Duration,
    /// For the request under way when that is over.
    pub(crate) last_request: Duration,
    /// Bytes of a request's headers, and of an answer that waits to be read.
    pub(crate) buffer: usize,
    /// Headers of a request.
    pub(crate) headers: usize,
}

/// Serves what arrives, until shutdown is cancelled and the requests under way
/// have ended. Dropped, it cuts those that are left.
///
/// `greet` does what comes before HTTP, and finds out about the visitor what every
/// request then carries as an extension; [`nothing_before`] is for who speaks HTTP
/// at once. `refused` hears of each connection for which there is no place.
pub(crate) async fn serve<Io, Greeting, Greeted, Visitor>(
    arrivals: impl Stream<Item = (Io, SocketAddr)>,
    greet: impl Fn(Io) -> Greeting,
    router: Router,
    bounds: Bounds,
    refused: impl Fn(SocketAddr),
    shutdown: CancellationToken,
) where
    Greeting: Future<Output = io::Result<(Greeted, Visitor)>> + Send + 'static,
    Greeted: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    Visitor: Clone + Send + Sync + 'static,
{
    let (mut arrivals, mut open) = (Box::pin(arrivals), JoinSet::new());
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let arrived = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_ended) = open.join_next() => continue,
            arrived = arrivals.next() => arrived,
        };
        let Some((io, peer)) = arrived else { break };
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let (greeting, router, shutdown) = (greet(io), router.clone(), shutdown.clone());
                open.spawn(async move {
                    let greeted = tokio::select! {
                        greeted = timeout(bounds.greeting, greeting) => greeted,
                        () = shutdown.cancelled() => return,
                    };
                    match greeted {
                        Ok(Ok(greeted)) => hold(greeted, peer, router, bounds, shutdown).await,
                        Ok(Err(error)) => debug!(%peer, %error, "a connection did not come to HTTP"),
                        Err(_late) => debug!(%peer, "a connection did not come to HTTP in time"),
                    }
                    drop(place);
                });
            }
            Err(_full) => refused(peer),
        }
    }
    drop(arrivals);
    while open.join_next().await.is_some() {}
}

/// Nothing comes before HTTP.
pub(crate) async fn nothing_before<Io>(io: Io) -> io::Result<(Io, ())> {
    Ok((io, ()))
}

async fn hold<Io>(
    (io, visitor): (Io, impl Clone + Send + Sync + 'static),
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let desk = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(visitor.clone());
        router.clone().call(request)
    });
    let mut http1 = hyper::server::conn::http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_time)
        .max_buf_size(bounds.buffer)
        .max_headers(bounds.headers);
    let mut served = pin!(http1.serve_connection(TokioIo::new(io), desk));
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
        () = sleep(bounds.life) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        served.as_mut().graceful_shutdown();
        match timeout(bounds.last_request, served).await {
            Ok(ended) => ended,
            Err(_late) => return warn!(%peer, "cut an HTTP connection: its last request takes too long"),
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "an HTTP connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections: 1,
        greeting: Duration::from_secs(5),
        header_time: Duration::from_mins(1),
        life: Duration::from_mins(1),
        last_request: Duration::from_mins(1),
        buffer: 8 * 1024,
        headers: 100,
    };

    /// One who comes and is never done with what comes before HTTP, and the server.
    fn silent(shutdown: &CancellationToken) -> (DuplexStream, impl Future<Output = ()> + use<>) {
        let (near, far) = duplex(64);
        let arrivals = stream::iter([(far, SocketAddr::from(([127, 0, 0, 1], 1)))]).chain(stream::pending());
        let greet = |io: DuplexStream| async move {
            let never: io::Result<(DuplexStream, ())> = pending().await;
            drop(io);
            never
        };
        (near, serve(arrivals, greet, Router::new(), BOUNDS, |_| (), shutdown.clone()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_comes_to_http_is_cut_in_time() {
        let (mut near, served) = silent(&CancellationToken::new());
        let began = tokio::time::Instant::now();
        tokio::select! {
            () = served => unreachable!("there may be more to come"),
            read = near.read_u8() => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
        }
        assert_eq!(began.elapsed(), BOUNDS.greeting);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_does_not_wait_for_whoever_has_not_come_to_http() {
        let shutdown = CancellationToken::new();
        let (_near, served) = silent(&shutdown);
        let mut served = pin!(served);
        tokio::select! {
            () = served.as_mut() => unreachable!("there may be more to come"),
            () = sleep(Duration::from_secs(1)) => shutdown.cancel(),
        }
        let began = tokio::time::Instant::now();
        served.await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
