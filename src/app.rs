//! The control plane as one value: it binds its listeners, serves, and drains.

mod addresses;
mod tls;
mod trust;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{error, info, warn};

pub use self::addresses::Addresses;
use crate::{
    audit::{AccessControl, AuditLog, CannotOpen, LogFile},
    config::Config,
    grpc::{Grpc, GrpcAccess, set_health},
    http,
    kube::Kube,
    model::Records,
    net::{
        accept::{incoming, incoming_with_keepalive},
        listen::listen,
        tls::{Protocol, Tls},
    },
    persistence::{Loaded, Persistence, identities::MeshIdentities},
    registry::Registry,
    runtime::{
        blocking::{drop_blocking, run_blocking, spawn_blocking},
        readiness::Readiness,
    },
    store::{DataDir, MemoryStore, Store, Stores},
    telemetry::{
        metrics::{Listener, Metrics},
        readyz::ReadyChecks,
    },
};

/// Longest time for the last batch of registrations and the last lines of the audit log, after the
/// drain timeout at the latest.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A running control plane. Dropping it closes all connections; [`App::drain`] ends them
/// gracefully.
#[derive(Debug)]
pub struct App {
    addresses: Addresses,
    registry: Registry,
    /// Ends the streams and watches of gRPC and of the Kubernetes API.
    shutdown: CancellationToken,
    /// Ends the HTTP server, which reports "not ready" while the others drain.
    http_shutdown: CancellationToken,
    drain_timeout: Duration,
    health: HealthReporter,
    ready: Readiness,
    /// The gRPC server and the Kubernetes API.
    servers: JoinSet<()>,
    /// The HTTP server.
    http: JoinSet<()>,
    /// The background tasks of the registry and of its store; aborted when the app is dropped.
    core: JoinSet<()>,
    /// Keeps the registrations over a restart; none without a data directory.
    persistence: Option<Arc<Persistence>>,
    audit: AuditLog,
}

impl App {
    /// Binds all listeners, starts the servers, and marks the control plane ready.
    ///
    /// # Errors
    ///
    /// If an address can't be bound, a TLS file or the audit log can't be opened, or the addresses
    /// file can't be written.
    pub async fn start(mut config: Config) -> anyhow::Result<Self> {
        if let Some(path) = &config.addresses_file {
            addresses::remove_stale(path)?;
        }
        let audit_file = open_audit_log(config.audit_log.clone()).await?;
        let (grpc_listener, grpc_addr) = bind("grpc-addr", config.grpc_addr)?;
        let (http_listener, http_addr) = bind("http-addr", config.http_addr)?;
        let kube_listener = config.kube.addr.map(|addr| bind("kube-api-addr", addr)).transpose()?;
        let (kube_listener, kube_addr) = kube_listener.unzip();
        let addresses = Addresses { grpc: grpc_addr, http: http_addr, kube: kube_addr };

        let (shutdown, http_shutdown) = (CancellationToken::new(), CancellationToken::new());
        let mut core = JoinSet::new();
        let grpc_tls = tls::load(config.tls.grpc.as_ref(), Protocol::Http2, &config.tls, &mut core)?;
        let http_tls = tls::load(config.tls.http.as_ref(), Protocol::Http1, &config.tls, &mut core)?;
        let (persistence, records) = load(&mut config).await?;
        let stores = persistence.as_ref().map(|persistence| persistence.stores().clone());
        let resources = resources(stores.as_ref());
        let registry = Registry::new(config.registry.clone());
        if persistence.is_some() {
            run_blocking(|| registry.restore(records, config.warming_timeout));
        }
        let metrics = new_metrics(&registry, persistence.as_deref())?;
        let identities = Arc::new(MeshIdentities::load(Arc::clone(&resources)).await?);
        let trust = trust::load(&config, resources, &metrics.service_accounts, &mut core);
        let (trust, keys) = Box::pin(trust).await?;
        let audit = start_audit_log(audit_file, &metrics, &mut core)?;
        let counting =
            |tls: Option<Tls>, listener| tls.map(|tls| tls.on_failure(metrics.tls.of_listener(listener)));
        let grpc_tls = counting(grpc_tls, Listener::Grpc);
        let http_tls = counting(http_tls, Listener::Http);
        let peer_timeout = config.limits.keepalive_interval + config.limits.keepalive_timeout;
        let control = |listener, anonymous| {
            AccessControl::new(listener, trust.listener(anonymous), metrics.refused.clone(), audit.clone())
        };
        let grpc_control =
            control(Listener::Grpc, tls::anonymous_access(grpc_addr, grpc_tls.as_ref(), &config.tls));
        let http_anonymous = tls::anonymous_access(http_addr, http_tls.as_ref(), &config.tls);
        let http_anonymous = tls::with_metrics(http_anonymous, config.insecure_anonymous_metrics);
        let http_control = control(Listener::Http, http_anonymous);
        let authenticates = config.access_file.is_some() || config.tls.client_ca_file.is_some();
        let kube_control = control(Listener::Kube, tls::kube_anonymous_access(&config.kube, authenticates));
        let http_places = http::places(&config.limits, metrics.connections.of_listener(Listener::Http));
        let grpc = Grpc::new(
            &registry,
            stores,
            config.limits,
            config.envoy,
            GrpcAccess { control: grpc_control, keys, identities },
            &metrics,
            shutdown.clone(),
        )
        .await?;
        let (health, ready) = (grpc.health(), Readiness::default());
        let mut checks = ReadyChecks::new(ready.clone(), &registry);
        if let Some(persistence) = &persistence {
            checks = checks.with_store(persistence.status().clone());
        }

        core.spawn({
            let registry = registry.clone();
            async move { registry.run().await }
        });
        if let Some(persistence) = &persistence {
            let (persistence, registry) = (Arc::clone(persistence), registry.clone());
            core.spawn(async move { match persistence.run(&registry).await {} });
        }
        let mut servers = JoinSet::new();
        let incoming = incoming(grpc_listener, peer_timeout);
        match grpc_tls {
            Some(tls) => servers.spawn(grpc.serve_tls(incoming, tls)),
            None => servers.spawn(grpc.serve(incoming)),
        };
        if let Some(listener) = kube_listener {
            let (checks, shutdown) = (checks.clone(), shutdown.clone());
            let kube = Kube::new(&registry, &config.kube, &metrics, checks, kube_control, shutdown)?;
            servers.spawn(kube.serve(incoming_with_keepalive(listener, Kube::PEER_TIMEOUT)));
        }
        let (mut http, router) = (JoinSet::new(), http::router(metrics, checks, http_control));
        http.spawn(http::serve(http_listener, http_tls, router, http_places, http_shutdown.clone()));

        set_health(&health, ServingStatus::Serving).await;
        ready.set(true);
        if let Some(path) = &config.addresses_file {
            addresses.write(path)?;
        }
        addresses.log(registry.epoch());
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
            core,
            persistence,
            audit,
        })
    }

    /// Returns the addresses that the listeners are bound to.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns the registry that the servers share.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the audit log of all listeners.
    pub fn audit_log(&self) -> &AuditLog {
        &self.audit
    }

    /// Waits until a server or the registry's background task ends without being asked to,
    /// which is a fault, and returns why.
    pub async fn failed(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            ended = self.servers.join_next() => ended,
            ended = self.http.join_next() => ended,
            // They wake watchers, end idle sessions and store registrations, so nothing is right
            // without them.
            ended = self.core.join_next() => ended,
        };
        self.ready.set(false);
        match ended {
            Some(Err(panic)) => panic.into(),
            Some(Ok(())) | None => anyhow::anyhow!("a server ended unexpectedly"),
        }
    }

    /// Drains: reports "not ready", ends every stream with a status, and waits until all
    /// connections are closed. Returns false if [`Config::drain_timeout`] passed first; the
    /// server then closes the remaining connections itself.
    pub async fn drain(mut self) -> bool {
        info!(timeout = ?self.drain_timeout, "draining");
        self.ready.set(false);
        set_health(&self.health, ServingStatus::NotServing).await;
        // First, so that a session that ends because its connection is closed is not recorded as lost.
        self.registry.drain();
        self.shutdown.cancel();
        let all_closed = async {
            while self.servers.join_next().await.is_some() {}
            self.http_shutdown.cancel();
            while self.http.join_next().await.is_some() {}
        };
        let in_time = timeout(self.drain_timeout, all_closed).await.is_ok();
        let (stored, audited) = tokio::join!(
            async {
                match &self.persistence {
                    Some(persistence) => {
                        timeout(FLUSH_TIMEOUT, persistence.flush(&self.registry)).await == Ok(true)
                    }
                    None => true,
                }
            },
            timeout(FLUSH_TIMEOUT, self.audit.flush()),
        );
        if audited.is_err() {
            error!("the last lines of the audit log are not written");
        }
        if let Some(persistence) = &self.persistence
            && !stored
        {
            let since = persistence.status().state().stored_until.map(humantime::format_rfc3339_seconds);
            error!(
                since = since.map(tracing::field::display),
                pending = self.registry.pending_records(),
                "the last changes of registrations are not stored"
            );
        }
        if in_time {
            info!("drained");
        } else {
            warn!("the drain timeout has passed: closing the remaining connections");
        }
        in_time
    }
}

impl Drop for App {
    /// Closing the files of a data directory writes to the disk, which may hang.
    fn drop(&mut self) {
        drop_blocking(self.persistence.take());
    }
}

fn new_metrics(registry: &Registry, persistence: Option<&Persistence>) -> anyhow::Result<Metrics> {
    let metrics = Metrics::new(registry)?;
    Ok(match persistence {
        Some(persistence) => metrics.with_store(persistence.status().clone()),
        None => metrics,
    })
}

async fn open_audit_log(path: Option<PathBuf>) -> anyhow::Result<Option<LogFile>> {
    let Some(path) = path else { return Ok(None) };
    // Not in place, so that a signal ends the start although the disk hangs.
    let opened: Option<Result<_, CannotOpen>> = spawn_blocking(move || LogFile::open(&path)).await;
    Ok(Some(opened.context("the process is shutting down")??))
}

/// The end of its thread is a failure.
fn start_audit_log(
    file: Option<LogFile>,
    metrics: &Metrics,
    core: &mut JoinSet<()>,
) -> anyhow::Result<AuditLog> {
    let Some(file) = file else { return Ok(AuditLog::default()) };
    let (log, writer) = AuditLog::start(file, metrics.audit.clone()).context("can't write the audit log")?;
    core.spawn(writer.ended());
    Ok(log)
}

/// Loads what an earlier process has left in the data directory, and sets the first revision.
async fn load(config: &mut Config) -> anyhow::Result<(Option<Arc<Persistence>>, Records)> {
    let Some(path) = config.data_dir.clone() else {
        info!(
            "registrations are in memory only: after a restart dataplanes are missing until they reconnect (--data-dir keeps them)"
        );
        return Ok((None, Records::default()));
    };
    // Not in place, so that a signal ends the start although the disk hangs.
    let opened = {
        let path = path.clone();
        spawn_blocking(move || DataDir::open(&path)).await
    };
    let directory = opened.context("the process is shutting down")??;
    let Loaded { persistence, records, first_revision } =
        Persistence::load(directory.stores(), &config.registry)
            .await
            .with_context(|| format!("can't use the data directory {}", path.display()))?;
    config.registry.first_revision = first_revision;
    info!(
        directory = %path.display(),
        dataplanes = records.registrations.len(),
        workloads = records.workloads.len(),
        "registrations restored"
    );
    Ok((Some(Arc::new(persistence)), records))
}

/// What operators write: keys, revocations and `MeshIdentities`. It is in memory without a data directory.
fn resources(stores: Option<&Stores>) -> Arc<dyn Store> {
    stores.map_or_else(
        || Arc::new(MemoryStore::new()) as Arc<dyn Store>,
        |stores| Arc::clone(&stores.resources),
    )
}

fn bind(setting: &str, addr: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = listen(addr)
        .with_context(|| format!("can't listen on {addr}: choose another address with --{setting}"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{persistence::tests::outages::on_a_disk_that_hangs, runtime::captured_log::CapturedLog};

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_although_the_disk_hangs() {
        let log = CapturedLog::start();
        let mut app = started().await;
        app.persistence = Some(Arc::new(on_a_disk_that_hangs(&app.registry).await));
        assert!(app.drain().await, "the connections are closed in time");
        let lines = log.with("the last changes of registrations are not stored");
        assert!(lines.len() == 1 && lines[0].contains("pending=2"), "{lines:?}");
    }

    async fn started() -> App {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Config { grpc_addr: any, http_addr: any, ..Config::default() };
        config.kube.addr = Some(any);
        App::start(config).await.unwrap()
    }

    #[tokio::test]
    async fn the_end_of_any_task_is_a_failure_and_ends_the_readiness() {
        let tasks: [fn(&mut App) -> &mut JoinSet<()>; 3] =
            [|app| &mut app.servers, |app| &mut app.http, |app| &mut app.core];
        for task in tasks {
            let mut app = started().await;
            assert!(app.ready.is_ready());
            task(&mut app).abort_all();
            app.failed().await;
            assert!(!app.ready.is_ready());
        }
    }
}
