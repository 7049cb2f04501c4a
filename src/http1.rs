//! Connections of HTTP/1: bounded in number and in time, and drained.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use futures_util::{Stream, StreamExt as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Open at a time.
    pub(crate) connections: usize,
    /// For a request's headers to arrive, also on a connection that is kept.
    pub(crate) header_time: Duration,
    /// Of a connection's life, after which it takes no more requests.
    pub(crate) life: Duration,
    /// For the request under way when that is over.
    pub(crate) last_request: Duration,
    /// Bytes of a request's headers, and of an answer that waits to be read.
    pub(crate) buffer: usize,
}

/// Serves what arrives, until shutdown is cancelled and the requests under way
/// have ended. Dropped, it cuts those that are left. `refused` hears of each
/// connection for which there is no place.
pub(crate) async fn serve<Io>(
    arrivals: impl Stream<Item = (Io, SocketAddr)>,
    router: Router,
    bounds: Bounds,
    refused: impl Fn(SocketAddr),
    shutdown: CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
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
                open.spawn(hold(io, peer, router.clone(), bounds, place, shutdown.clone()));
            }
            Err(_full) => refused(peer),
        }
    }
    drop(arrivals);
    while open.join_next().await.is_some() {}
}

async fn hold<Io>(
    io: Io,
    peer: SocketAddr,
    router: Router,
    bounds: Bounds,
    _place: OwnedSemaphorePermit,
    shutdown: CancellationToken,
) where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut http1 = hyper::server::conn::http1::Builder::new();
    http1.timer(TokioTimer::new()).header_read_timeout(bounds.header_time).max_buf_size(bounds.buffer);
    let mut served = pin!(http1.serve_connection(TokioIo::new(io), TowerToHyperService::new(router)));
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
