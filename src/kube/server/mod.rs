//! The server: its connections and TLS, and what every request passes before a handler.

mod access;
mod authorize;
mod middleware;
mod request_metrics;
mod routes;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures_util::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::{
    access::{FrontProxy, KubeAccess},
    routes::routes,
};
use super::objects::{events, state::ApiState, workloads};
use crate::{
    access::Access,
    audit::AccessControl,
    config::{CertificateFiles, KubeSettings, KubeTls},
    net::http1::{self, ConnectionLimits, no_handshake},
    net::places::{PlaceLimits, Places},
    net::tls::{Authority, ClientCertificates, PemFile, Protocol, Reloading, TlsListener, authority},
    registry::Registry,
    telemetry::{
        metrics::{Listener, Metrics, ShedMetrics, TlsMetrics},
        readyz::ReadyChecks,
    },
};

/// Many round trips on any network, for a TLS handshake and the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than the 90 s for which Go's clients keep an idle connection, so that the server
/// does not close it just when a client reuses it.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// The headers of kubectl's requests have a few hundred bytes.
const MAX_BUFFER: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;
/// kube-apiserver sends a header for each group of its user. Some users are in hundreds of
/// groups with long names.
const MAX_BUFFER_BEHIND_PROXY: usize = 256 * 1024;
const MAX_HEADERS_BEHIND_PROXY: usize = 2_048;
/// As long as the longest watch.
const MAX_CONNECTION_AGE: Duration = Duration::from_hours(1);

/// The server of the Kubernetes API, before it accepts connections.
#[derive(Debug)]
pub struct Kube {
    router: Router,
    places: Places,
    limits: ConnectionLimits,
    tls: Option<TlsFiles>,
    /// Ends watches when kube-apiserver is no longer trusted.
    revocations: Access,
    shed: ShedMetrics,
    handshakes: TlsMetrics,
    shutdown: CancellationToken,
}

/// TLS and the files that configure it.
struct TlsFiles {
    listener: TlsListener,
    client_authority: Option<Reloading<Authority, 1>>,
    reload_interval: Duration,
}

impl TlsFiles {
    /// With `certificates` clients may present certificates that are not kube-apiserver's.
    fn load(settings: &KubeTls, certificates: bool) -> anyhow::Result<Self> {
        let CertificateFiles { flags: [cert, key], cert_file, key_file } = &settings.files;
        let (cert, key) = (PemFile::new(cert, cert_file), PemFile::new(key, key_file));
        let ca =
            settings.front_proxy.as_ref().map(|proxy| PemFile::new("kube-client-ca-file", &proxy.ca_file));
        let client_authority = ca.map(|ca| Reloading::load([ca], authority)).transpose()?;
        let clients = if certificates || client_authority.is_some() {
            ClientCertificates::Requested
        } else {
            ClientCertificates::Ignored
        };
        let listener = TlsListener::load(cert, key, Protocol::Http1, clients)?;
        Ok(Self { listener, client_authority, reload_interval: settings.reload_interval })
    }
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").finish_non_exhaustive()
    }
}

impl Kube {
    /// The connection of a client that acknowledges no data for this long is reset. A user may
    /// have suspended the terminal that a watch prints to.
    pub const PEER_TIMEOUT: Duration = Duration::from_mins(1);

    /// Creates the server and loads its TLS files. `control` determines the callers that are not
    /// users of kube-apiserver. Watches end when `shutdown` is cancelled.
    ///
    /// # Errors
    ///
    /// If a TLS file can't be read, or its contents are invalid.
    pub fn new(
        registry: &Registry,
        settings: &KubeSettings,
        metrics: &Metrics,
        checks: ReadyChecks,
        control: AccessControl,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let certificates = control.accepts_certificates();
        let tls = settings.tls.as_ref().map(|tls| TlsFiles::load(tls, certificates)).transpose()?;
        let client_authority = tls.as_ref().and_then(|tls| tls.client_authority.as_ref());
        let front_proxy =
            settings.front_proxy().zip(client_authority).map(|(settings, authority)| FrontProxy {
                authority: authority.current(),
                allowed_names: settings.allowed_names.as_slice().into(),
            });
        let (max_buffer, max_headers) = match &front_proxy {
            None => (MAX_BUFFER, MAX_HEADERS),
            Some(_) => (MAX_BUFFER_BEHIND_PROXY, MAX_HEADERS_BEHIND_PROXY),
        };
        let on_loopback = settings.addr.is_none_or(|addr| addr.ip().is_loopback());
        let revocations = control.access().clone();
        let access = KubeAccess { control, loopback: on_loopback && front_proxy.is_none(), front_proxy };
        let limits = ConnectionLimits {
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            max_age: MAX_CONNECTION_AGE,
            grace: MAX_CONNECTION_AGE,
            max_buffer,
            max_headers,
        };
        let places = PlaceLimits {
            total: settings.max_connections,
            per_address: None,
            unauthenticated_rate: settings.max_unauthenticated_connection_rate,
        };
        let places = Places::new(places, metrics.connections.of_listener(Listener::Kube));
        let state = ApiState::new(
            registry,
            Arc::new(workloads::kind(&settings.group)),
            Arc::new(events::kind()),
            settings.max_connections,
            metrics,
            shutdown.clone(),
        );
        let router = routes(&Arc::new(state), settings, access, checks, metrics.kube.clone());
        Ok(Self {
            router,
            places,
            limits,
            tls,
            revocations,
            shed: metrics.shed.clone(),
            handshakes: metrics.tls.clone(),
            shutdown,
        })
    }

    /// Serves the connections of `incoming`, which need not be sockets, until `shutdown` is
    /// cancelled and the requests in flight have ended.
    pub async fn serve<Io>(self, incoming: impl Stream<Item = (Io, SocketAddr)>)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { router, places, limits, tls, revocations, shed, handshakes, shutdown } = self;
        let on_shed = |peer, what| {
            shed.shed(ShedMetrics::KUBE_CONNECTIONS);
            warn!(%peer, shed = ?what, "too many connections to the Kubernetes API (max-kube-connections)");
        };
        let Some(TlsFiles { listener, client_authority, reload_interval }) = tls else {
            return http1::serve(incoming, no_handshake, router, places, limits, on_shed, shutdown).await;
        };
        let tls = listener.tls().on_failure(handshakes.of_listener(Listener::Kube));
        let mut reloading = JoinSet::new();
        reloading.spawn(listener.run(reload_interval));
        if let Some(authority) = client_authority {
            reloading.spawn(authority.run_then(reload_interval, move |_| revocations.recheck()));
        }
        let handshake = move |io, peer| tls.clone().accept(io, peer);
        tokio::select! {
            () = http1::serve(incoming, handshake, router, places, limits, on_shed, shutdown) => {}
            // Without it the certificate would expire unnoticed. The end of the server is a failure of the app.
            _ended = reloading.join_next() => error!("the task that reloads the TLS files ended unexpectedly"),
        }
    }
}

#[cfg(test)]
mod tests;
