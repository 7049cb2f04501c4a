//! The HTTP server: metrics for Prometheus, liveness and readiness for orchestrators.

mod access;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{RawQuery, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::access::{PathAccess, check_path};
use crate::{
    access::Action,
    audit::{AccessControl, AuditedCaller},
    config::Limits,
    model::Quoted,
    net::{
        accept::incoming_with_keepalive,
        host::check_loopback_host,
        http1::{self, ConnectionLimits, no_handshake},
        places::{PlaceLimits, Places, Unauthenticated},
        tls::Tls,
    },
    telemetry::{metrics::Metrics, readyz::ReadyChecks},
};

/// The connection of a client that acknowledges no data, or no TCP keepalive probe, for
/// this long is reset.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

/// Open connections. Scrapers and probes need a handful.
const MAX_CONNECTIONS: usize = 256;

const LIMITS: ConnectionLimits = ConnectionLimits {
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

/// The paths, what a request for each does, and their handlers. No path can be requested without
/// the right to its action.
fn routes() -> [(&'static str, Action, MethodRouter<HttpState>); 4] {
    [
        ("/", Action::CheckHealth, get(|| async { "headcount: /metrics /livez /readyz\n" })),
        ("/metrics", Action::ReadMetrics, get(scrape)),
        ("/livez", Action::CheckHealth, get(|| async { "ok\n" })),
        ("/readyz", Action::CheckHealth, get(readyz)),
    ]
}

/// Returns the routes: `/`, `/metrics`, `/livez` and `/readyz`. `control` determines the caller of
/// each request.
pub fn router(metrics: Metrics, checks: ReadyChecks, control: AccessControl) -> Router {
    let actions = routes().iter().map(|(path, action, _)| (*path, *action)).collect();
    let access = Arc::new(PathAccess { control, actions });
    let add = |router: Router<HttpState>, (path, _, handler)| router.route(path, handler);
    let router = routes().into_iter().fold(Router::new(), add);
    router.with_state(HttpState { metrics, checks }).layer(from_fn_with_state(access, check_path))
}

async fn scrape(State(state): State<HttpState>) -> Response {
    // Encoding takes milliseconds; on this thread it would delay sessions and watches.
    let encoded = spawn_blocking(move || state.metrics.encode()).await;
    match encoded.map_err(anyhow::Error::from).and_then(|encoded| Ok(encoded?)) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readyz(
    State(state): State<HttpState>,
    RawQuery(query): RawQuery,
    caller: Option<Extension<AuditedCaller>>,
) -> (StatusCode, String) {
    let details = caller.is_some_and(|Extension(caller)| caller.may_see_details());
    let (code, mut text) = state.checks.respond(query.as_deref(), details);
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

/// The places of the server's connections; see [`Places::new`].
pub(crate) fn places(
    limits: &Limits,
    on_unauthenticated: impl Fn(Unauthenticated) + Send + 'static,
) -> Places {
    let unauthenticated_rate = limits.max_unauthenticated_connection_rate;
    let limits = PlaceLimits { total: MAX_CONNECTIONS, per_address: None, unauthenticated_rate };
    Places::new(limits, on_unauthenticated)
}

/// Serves until `shutdown` is cancelled, then lets the requests in flight finish.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    places: Places,
    shutdown: CancellationToken,
) {
    let loopback = listener.local_addr().is_ok_and(|addr| addr.ip().is_loopback());
    let router = if loopback { router.layer(from_fn(loopback_host)) } else { router };
    let incoming = incoming_with_keepalive(listener, PEER_TIMEOUT);
    let on_shed = |peer, shed| {
        warn!(%peer, ?shed, "too many HTTP connections: at most {MAX_CONNECTIONS}, and half of them from one address");
    };
    match tls {
        None => http1::serve(incoming, no_handshake, router, places, LIMITS, on_shed, shutdown).await,
        Some(tls) => {
            let handshake = move |io, peer| tls.clone().accept(io, peer);
            http1::serve(incoming, handshake, router, places, LIMITS, on_shed, shutdown).await;
        }
    }
}

#[cfg(test)]
mod tests;
