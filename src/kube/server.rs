//! The server of the desk: its connections, and how they end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Desk, routes::routes};
use crate::{
    config::KubeSettings,
    http::Ready,
    http1::{self, Bounds},
    metrics::{Metrics, ShedMetrics},
    registry::Registry,
};

/// Longer than the 90 s for which Go's clients keep a quiet connection, so that
/// none is closed just when it is used again.
const HEADER_TIME: Duration = Duration::from_mins(2);
/// Bytes of a request's headers, of which kubectl's and its path's are some
/// hundred; and of an answer that waits to be read.
const BUFFER: usize = 32 * 1024;
/// As long as the longest watch.
const LIFE: Duration = Duration::from_hours(1);

/// The Kubernetes API, ready to be given connections.
#[derive(Debug)]
pub struct Kube {
    router: Router,
    bounds: Bounds,
    shed: ShedMetrics,
    shutdown: CancellationToken,
}

impl Kube {
    /// With whoever takes nothing of what is sent: a person may have stopped the
    /// terminal that a watch writes to.
    pub const PATIENCE: Duration = Duration::from_mins(1);

    /// Sets up the desk. Watches end when `shutdown` is cancelled.
    pub fn new(
        registry: &Registry,
        settings: &KubeSettings,
        metrics: &Metrics,
        ready: Ready,
        shutdown: CancellationToken,
    ) -> Self {
        let desk = Desk::new(registry, settings, metrics, ready, shutdown.clone());
        let bounds = Bounds {
            connections: settings.max_connections,
            header_time: HEADER_TIME,
            life: LIFE,
            last_request: LIFE,
            buffer: BUFFER,
        };
        Self { router: routes(Arc::new(desk)), bounds, shed: metrics.shed.clone(), shutdown }
    }

    /// Serves what arrives, until shutdown is cancelled and every answer has
    /// ended. Where the connections come from is the caller's affair: they need
    /// be no sockets, and may be encrypted.
    pub async fn serve<Io>(self, arrivals: impl Stream<Item = (Io, SocketAddr)>)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let refused = |peer| {
            self.shed.shed(ShedMetrics::KUBE_CONNECTIONS);
            warn!(%peer, "refused a connection to the Kubernetes API: max-kube-connections is reached");
        };
        http1::serve(arrivals, self.router, self.bounds, refused, self.shutdown).await;
    }
}
