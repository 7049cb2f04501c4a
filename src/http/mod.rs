//! The HTTP desk: metrics for Prometheus, health for whoever runs us.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    net::accept::quiet_arrivals,
    net::http1::{self, Bounds, nothing_before},
    runtime::readiness::Readiness,
    telemetry::metrics::Metrics,
};

/// With whoever takes nothing of what is sent.
const PATIENCE: Duration = Duration::from_secs(30);

const BOUNDS: Bounds = Bounds {
    // Scrapers and probes come one by one; this is room for many, and for some
    // that only take up room.
    connections: 256,
    greeting: Duration::ZERO,
    // Longer than a quick scraper's interval of 5 s, so that it needs no new
    // connection.
    header_time: Duration::from_secs(10),
    // Of which a scraper needs a few seconds for each scrape.
    life: Duration::from_mins(5),
    last_request: Duration::from_secs(30),
    buffer: 64 * 1024,
    headers: 100,
};

#[derive(Debug, Clone)]
struct Desk {
    metrics: Metrics,
    ready: Readiness,
}

/// All pages.
pub fn router(metrics: Metrics, ready: Readiness) -> Router {
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
    if desk.ready.is_ready() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or draining\n")
    }
}

/// Serves until shutdown is cancelled, then lets requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let refused = |peer| warn!(%peer, "refused an HTTP connection: {} are open", BOUNDS.connections);
    http1::serve(quiet_arrivals(listener, PATIENCE), nothing_before, router, BOUNDS, refused, shutdown).await;
}
