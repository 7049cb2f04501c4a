//! The HTTP desk: metrics for Prometheus, health for whoever runs us.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, task::spawn_blocking, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{accept::accept, metrics::Metrics};

/// For a request's headers to arrive, also on a connection that is kept: longer
/// than a quick scraper's interval of 5 s, so that it needs no new connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// For one connection, of which a scraper needs a few seconds for each scrape.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(5);
/// Scrapers and probes come one by one; this is room for many, and for some that
/// only take up room.
const MAX_CONNECTIONS: usize = 256;

/// Whether the server takes work; readiness follows it.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Relaxed);
    }
}

#[derive(Debug, Clone)]
struct Desk {
    metrics: Metrics,
    ready: Ready,
}

/// All pages.
pub fn router(metrics: Metrics, ready: Ready) -> Router {
    Router::new()
        .route("/", get(|| async { "headcount: /metrics /livez /readyz\n" }))
        .route("/metrics", get(scrape))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Desk { metrics, ready })
}

async fn scrape(State(desk): State<Desk>) -> Response {
    // Sessions and watches on this thread would wait for it.
    let encoded = spawn_blocking(move || desk.metrics.encode()).await;
    match encoded.map_err(anyhow::Error::from).and_then(|encoded| Ok(encoded?)) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readyz(State(desk): State<Desk>) -> (StatusCode, &'static str) {
    if desk.ready.0.load(Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or draining\n")
    }
}

/// Serves until shutdown is cancelled, then lets requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let (connections, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        let (io, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            warn!(%peer, "refused an HTTP connection: {MAX_CONNECTIONS} are open");
            continue;
        };
        let (service, shutdown) = (TowerToHyperService::new(router.clone()), shutdown.clone());
        connections.spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            let connection = builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let mut connection = std::pin::pin!(connection.serve_connection(TokioIo::new(io), service));
            let served = timeout(CONNECTION_TIMEOUT, async {
                tokio::select! {
                    served = connection.as_mut() => return served,
                    () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
                }
                connection.await
            });
            if let Ok(Err(error)) = served.await {
                debug!(%peer, %error, "an HTTP connection ended badly");
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}
