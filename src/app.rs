//! Puts the rooms together: binds, serves, drains.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{
    config::Config,
    grpc::{Grpc, set_health},
    http,
    kube::Kube,
    net::accept::{arrivals, quiet_arrivals},
    registry::Registry,
    runtime::readiness::Readiness,
    telemetry::metrics::Metrics,
};

/// Connections that have arrived and are not accepted yet: all proxies, after a
/// restart. Whoever finds no room comes again after 1 s, 3 s, 7 s. The system
/// lowers it to what it allows (`net.core.somaxconn`, 4,096 on Linux).
const BACKLOG: u32 = 65_535;

/// A server that serves.
#[derive(Debug)]
pub struct App {
    addresses: Addresses,
    registry: Registry,
    shutdown: CancellationToken,
    /// HTTP's own: while gRPC drains, it says that we are not ready.
    http_shutdown: CancellationToken,
    drain_timeout: Duration,
    health: HealthReporter,
    ready: Readiness,
    /// Those whose streams end when shutdown begins, and they with them.
    servers: JoinSet<()>,
    /// HTTP's, which ends after them.
    http: JoinSet<()>,
    /// The registry's own task; aborted with the app.
    _upkeep: JoinSet<()>,
}

/// The addresses really bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Of gRPC.
    pub grpc: SocketAddr,
    /// Of HTTP.
    pub http: SocketAddr,
    /// Of the Kubernetes API, if it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube: Option<SocketAddr>,
}

impl App {
    /// Binds all listeners and serves. Fails if an address is taken.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        if let Some(path) = &config.addresses_file {
            remove_old_addresses(path)?;
        }
        let (grpc_listener, grpc_addr) = bind("grpc-addr", config.grpc_addr)?;
        let (http_listener, http_addr) = bind("http-addr", config.http_addr)?;
        let kube_listener = config.kube.addr.map(|addr| bind("kube-api-addr", addr)).transpose()?;
        let (kube_listener, kube_addr) = kube_listener.unzip();
        let addresses = Addresses { grpc: grpc_addr, http: http_addr, kube: kube_addr };

        let (shutdown, http_shutdown) = (CancellationToken::new(), CancellationToken::new());
        let registry = Registry::new(config.registry);
        let metrics = Metrics::new(&registry)?;
        let patience = config.limits.keepalive_interval + config.limits.keepalive_timeout;
        let grpc = Grpc::new(&registry, config.limits, config.envoy, &metrics, shutdown.clone()).await?;
        let (health, ready) = (grpc.health(), Readiness::default());

        let mut upkeep = JoinSet::new();
        upkeep.spawn({
            let registry = registry.clone();
            async move { registry.run().await }
        });
        let mut servers = JoinSet::new();
        servers.spawn(grpc.serve(arrivals(grpc_listener, patience)));
        if let Some(listener) = kube_listener {
            let kube = Kube::new(&registry, &config.kube, &metrics, ready.clone(), shutdown.clone())?;
            servers.spawn(kube.serve(quiet_arrivals(listener, Kube::PATIENCE)));
        }
        let (mut http, router) = (JoinSet::new(), http::router(metrics, ready.clone()));
        http.spawn(http::serve(http_listener, router, http_shutdown.clone()));
        set_health(&health, ServingStatus::Serving).await;
        ready.set(true);
        if let Some(path) = &config.addresses_file {
            write_addresses(path, addresses)?;
        }
        let kube = addresses.kube.map(tracing::field::display);
        info!(grpc = %addresses.grpc, http = %addresses.http, kube, epoch = registry.epoch(), "serving");
        let drain_timeout = config.drain_timeout;
        Ok(Self {
            addresses,
            registry,
            shutdown,
            http_shutdown,
            drain_timeout,
            health,
            ready,
            servers,
            http,
            _upkeep: upkeep,
        })
    }

    /// The addresses really bound.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The truth it serves.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns if a server ends by itself, which it should not.
    pub async fn failed(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            ended = self.servers.join_next() => ended,
            ended = self.http.join_next() => ended,
        };
        match ended {
            Some(Err(panic)) => panic.into(),
            Some(Ok(())) | None => anyhow::anyhow!("a server ended by itself"),
        }
    }

    /// Ends every stream with a status that says why, and returns when all are
    /// gone or the drain timeout is over; true if all went by themselves.
    pub async fn drain(mut self) -> bool {
        info!(timeout = ?self.drain_timeout, "draining");
        self.ready.set(false);
        set_health(&self.health, ServingStatus::NotServing).await;
        self.shutdown.cancel();
        let all_gone = async {
            while self.servers.join_next().await.is_some() {}
            self.http_shutdown.cancel();
            while self.http.join_next().await.is_some() {}
        };
        let in_time = timeout(self.drain_timeout, all_gone).await.is_ok();
        if in_time {
            info!("drained");
        } else {
            warn!("the drain timeout is over: cutting the connections that are left");
        }
        in_time
    }
}

fn bind(setting: &str, addr: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = listen(addr)
        .with_context(|| format!("can't listen on {addr}: choose another address with --{setting}"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that was killed comes back to its port at once.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Whole or not at all: whoever waits for the file must not read half of it.
fn write_addresses(path: &Path, addresses: Addresses) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let mut name = path.file_name().context("it names no file")?.to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let draft = path.with_file_name(name);
        let text = serde_json::to_vec(&addresses)?;
        let written = File::create_new(&draft).and_then(|mut file| file.write_all(&text));
        let written = written.and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            // What can't be renamed shall not stay; if that fails too there is nothing left to try.
            let _removed = fs::remove_file(&draft);
        }
        Ok(written?)
    };
    write().with_context(|| addresses_trouble(path))
}

/// An earlier server's addresses would mislead whoever waits for ours.
fn remove_old_addresses(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(old) if !old.is_file() => {
            Err(anyhow::anyhow!("it is there and no plain file").context(addresses_trouble(path)))
        }
        _ => fs::remove_file(path).with_context(|| addresses_trouble(path)),
    }
}

fn addresses_trouble(path: &Path) -> String {
    format!("can't write the addresses to {}: check --addresses-file", path.display())
}
