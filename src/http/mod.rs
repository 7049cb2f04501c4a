//! The HTTP server: metrics for Prometheus, liveness and readiness for orchestrators.

use std::time::Duration;

use axum::{
    Router,
    extract::{RawQuery, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    model::Quoted,
    net::{
        accept::incoming_with_keepalive,
        host::check_loopback_host,
        http1::{self, ConnectionLimits, no_handshake},
        places::PlaceLimits,
        tls::Tls,
    },
    telemetry::{metrics::Metrics, readyz::ReadyChecks},
};

/// The connection of a client that acknowledges no data, or no TCP keepalive probe, for
/// this long is reset.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

const LIMITS: ConnectionLimits = ConnectionLimits {
    // Scrapers and probes need a handful.
    places: PlaceLimits { total: 256, per_address: None },
    header_timeout: Duration::from_secs(10),
    // Above the 5 s between the scrapes of a fast scraper, so that it can reuse its
    // connection.
    idle_timeout: Duration::from_secs(10),
    max_age: Duration::from_mins(5),
    // A scrape takes a few seconds at most.
    grace: Duration::from_secs(30),
    max_buffer: 64 * 1024,
    max_headers: 100,
};

#[derive(Debug, Clone)]
struct HttpState {
    metrics: Metrics,
    checks: ReadyChecks,
}

/// Returns the routes: `/`, `/metrics`, `/livez` and `/readyz`.
pub fn router(metrics: Metrics, checks: ReadyChecks) -> Router {
    Router::new()
        .route("/", get(|| async { "headcount: /metrics /livez /readyz\n" }))
        .route("/metrics", get(scrape))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(HttpState { metrics, checks })
}

async fn scrape(State(state): State<HttpState>) -> Response {
    // Encoding takes milliseconds; on this thread it would delay sessions and watches.
    let encoded = spawn_blocking(move || state.metrics.encode()).await;
    match encoded.map_err(anyhow::Error::from).and_then(|encoded| Ok(encoded?)) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readyz(State(state): State<HttpState>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let (code, mut text) = state.checks.respond(query.as_deref());
    // As in the other responses, for a person with curl.
    if !text.ends_with('\n') {
        text.push('\n');
    }
    (code, text)
}

/// Rejects requests for other hosts than this machine: on loopback no honest client sends one.
async fn loopback_host(request: Request, next: Next) -> Response {
    match check_loopback_host(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(host) => {
            let message = format!("host {}: use localhost, 127.0.0.1 or [::1]\n", Quoted(&host));
            (StatusCode::FORBIDDEN, message).into_response()
        }
    }
}

/// Serves until `shutdown` is cancelled, then lets the requests in flight finish.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    shutdown: CancellationToken,
) {
    let loopback = listener.local_addr().is_ok_and(|addr| addr.ip().is_loopback());
    let router = if loopback { router.layer(from_fn(loopback_host)) } else { router };
    let incoming = incoming_with_keepalive(listener, PEER_TIMEOUT);
    let on_shed = |peer, shed| {
        let most = LIMITS.places.total;
        warn!(%peer, ?shed, "too many HTTP connections: at most {most}, and half of them from one address");
    };
    match tls {
        None => http1::serve(incoming, no_handshake, router, LIMITS, on_shed, shutdown).await,
        Some(tls) => {
            let handshake = move |io| tls.clone().accept(io);
            http1::serve(incoming, handshake, router, LIMITS, on_shed, shutdown).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use tower::Service as _;

    use super::*;
    use crate::{
        registry::{Registry, RegistrySettings, tests::begin_warming},
        runtime::readiness::Readiness,
    };

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_warming_is_ready() {
        let registry = Registry::new(RegistrySettings::default());
        let ready = Readiness::default();
        ready.set(true);
        let mut router = router(Metrics::new(&registry).unwrap(), ReadyChecks::new(ready, &registry));
        begin_warming(&registry, 1, Duration::from_secs(21));
        let warming =
            "[+]warming ok: the server restarted: 1 dataplane has not reconnected yet (at most 21s more)";
        for (path, expected) in [
            ("/readyz", "ok\n".to_owned()),
            ("/readyz?verbose", format!("[+]ready ok\n{warming}\nreadyz check passed\n")),
        ] {
            let response = router.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(to_bytes(response.into_body(), 1_024).await.unwrap(), expected, "{path}");
        }
    }
}
