//! The server of the desk: its connections, and how they end.

mod access;
mod middleware;
mod request_metrics;
mod routes;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures_util::Stream;
use rustls::sign::CertifiedKey;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::{
    access::{Access, FrontProxy},
    routes::routes,
};
use super::Desk;
use crate::{
    config::{KubeSettings, KubeTls},
    net::http1::{self, ConnectionLimits, no_handshake},
    net::tls::{Authority, PemFile, Reloading, Tls, authority, certified_key},
    registry::Registry,
    runtime::readiness::Readiness,
    telemetry::metrics::{Metrics, ShedMetrics},
};

/// For TLS to agree on everything: many round trips on any network.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Longer than the 90 s for which Go's clients keep a quiet connection, so that
/// none is closed just when it is used again.
const HEADER_TIME: Duration = Duration::from_mins(2);
/// Bytes of a request's headers, of which kubectl's and its path's are some
/// hundred; and of an answer that waits to be read.
const BUFFER: usize = 32 * 1024;
const HEADERS: usize = 100;
/// The same behind kube-apiserver, which has a header for each group that its user
/// is in; some are in hundreds, with long names.
const BUFFER_FOR_GROUPS: usize = 256 * 1024;
const HEADERS_FOR_GROUPS: usize = 2_048;
/// As long as the longest watch.
const LIFE: Duration = Duration::from_hours(1);

/// The Kubernetes API, ready to be given connections.
#[derive(Debug)]
pub struct Kube {
    router: Router,
    bounds: ConnectionLimits,
    secured: Option<Secured>,
    shed: ShedMetrics,
    shutdown: CancellationToken,
}

/// TLS, and its files.
struct Secured {
    tls: Tls,
    own: Reloading<CertifiedKey, 2>,
    authority: Option<Reloading<Authority, 1>>,
    reload_interval: Duration,
}

impl Secured {
    fn load(settings: &KubeTls) -> anyhow::Result<Self> {
        let cert = PemFile::new("kube-tls-cert-file", &settings.cert_file);
        let key = PemFile::new("kube-tls-key-file", &settings.key_file);
        let own = Reloading::load([cert, key], certified_key)?;
        let ca =
            settings.front_proxy.as_ref().map(|proxy| PemFile::new("kube-client-ca-file", &proxy.ca_file));
        let authority = ca.map(|ca| Reloading::load([ca], authority)).transpose()?;
        let tls = Tls::new(own.current(), authority.is_some())?;
        Ok(Self { tls, own, authority, reload_interval: settings.reload_interval })
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").finish_non_exhaustive()
    }
}

impl Kube {
    /// With whoever takes nothing of what is sent: a person may have stopped the
    /// terminal that a watch writes to.
    pub const PATIENCE: Duration = Duration::from_mins(1);

    /// Sets up the desk, and reads the files of its TLS. Watches end when `shutdown`
    /// is cancelled.
    pub fn new(
        registry: &Registry,
        settings: &KubeSettings,
        metrics: &Metrics,
        ready: Readiness,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let secured = settings.tls.as_ref().map(Secured::load).transpose()?;
        let authority = secured.as_ref().and_then(|secured| secured.authority.as_ref());
        let access = match settings.front_proxy().zip(authority) {
            None => Access::ThisMachine,
            Some((settings, authority)) => Access::FrontProxy(FrontProxy {
                authority: authority.current(),
                allowed_names: settings.allowed_names.clone(),
            }),
        };
        let desk = Desk::new(registry, settings, metrics, ready, shutdown.clone());
        let (buffer, headers) = match &access {
            Access::ThisMachine => (BUFFER, HEADERS),
            Access::FrontProxy(_) => (BUFFER_FOR_GROUPS, HEADERS_FOR_GROUPS),
        };
        let bounds = ConnectionLimits {
            max_connections: settings.max_connections,
            handshake_timeout: HANDSHAKE_TIME,
            header_read_timeout: HEADER_TIME,
            max_age: LIFE,
            grace: LIFE,
            max_buffer: buffer,
            max_headers: headers,
        };
        let router = routes(Arc::new(desk), &settings.admission, access);
        Ok(Self { router, bounds, secured, shed: metrics.shed.clone(), shutdown })
    }

    /// Serves what arrives, until shutdown is cancelled and every answer has
    /// ended. Where the connections come from is the caller's affair: they need
    /// be no sockets.
    pub async fn serve<Io>(self, arrivals: impl Stream<Item = (Io, SocketAddr)>)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { router, bounds, secured, shed, shutdown } = self;
        let refused = |peer| {
            shed.shed(ShedMetrics::KUBE_CONNECTIONS);
            warn!(%peer, "refused a connection to the Kubernetes API: max-kube-connections is reached");
        };
        let Some(Secured { tls, own, authority, reload_interval }) = secured else {
            return http1::serve(arrivals, no_handshake, router, bounds, refused, shutdown).await;
        };
        let mut reloading = JoinSet::new();
        reloading.spawn(own.run(reload_interval));
        if let Some(authority) = authority {
            reloading.spawn(authority.run(reload_interval));
        }
        let greet = move |io| {
            let tls = tls.clone();
            async move { tls.accept(io).await }
        };
        http1::serve(arrivals, greet, router, bounds, refused, shutdown).await;
    }
}
