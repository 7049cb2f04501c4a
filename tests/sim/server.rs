//! The host that runs the real server: registry, metrics and gRPC services on a simulated
//! listener, with a wall clock that can be set.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use headcount::{
    access::{Access, Policy},
    audit::{AccessControl, AuditLog},
    authentication::Trust,
    config::Limits,
    envoy::checks::CheckSettings,
    grpc::{Grpc, GrpcAccess, set_health},
    model::{AnonymousAccess, DataplaneKey, Revocation, TokenId},
    persistence::{Loaded, Persistence, identities::MeshIdentities, tokens::TokenKeys},
    registry::{Registry, RegistrySettings},
    store::{MemoryStore, Store, Stores},
    telemetry::metrics::{Listener, Metrics},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

use crate::{
    net::{Crash, Network},
    tokens,
};

/// How long a restarted server waits for its dataplanes: the default of `serve`.
const WARMING_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a drain may take: the default of `serve`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

thread_local! {
    /// What the server's wall clock was set to, and when. Each thread runs one simulation at a time.
    static WALL: Cell<Option<(SystemTime, Instant)>> = const { Cell::new(None) };
}

/// Sets the server's wall clock to this many seconds after 1970, or before it.
pub fn set_wall_clock(seconds: i64) {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
    WALL.set(Some((time, Instant::now())));
}

/// The server's time of day.
pub fn wall_clock() -> SystemTime {
    let (time, set_at) = WALL.get().expect("a clock that was set");
    time + set_at.elapsed()
}

/// The server's host, and the server process while one runs.
#[derive(Debug)]
pub struct Server {
    network: Network,
    settings: RegistrySettings,
    /// What a restart restores; without it each process begins with an empty registry.
    stores: Option<Stores>,
    process: Option<Process>,
    /// When the last process was taken down.
    pub stopped: Instant,
}

#[derive(Debug)]
struct Process {
    shutdown: CancellationToken,
    /// Ends the process when the drain has taken too long.
    drain_timeout: Option<AbortHandle>,
    /// The server's own tasks. The tasks of connections are not aborted with them: they end when
    /// the network resets the connections.
    tasks: JoinSet<()>,
    registry: Registry,
    keys: Arc<TokenKeys>,
}

impl Server {
    pub fn new(network: &Network, mut settings: RegistrySettings) -> Self {
        settings.wall_clock = wall_clock;
        Self { network: network.clone(), settings, stores: None, process: None, stopped: Instant::now() }
    }

    pub fn with_stores(self, stores: Option<Stores>) -> Self {
        Self { stores, ..self }
    }

    /// Whether a restart restores the registrations.
    pub fn is_durable(&self) -> bool {
        self.stores.is_some()
    }

    /// Whether a process runs that is not draining.
    pub fn is_serving(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.drain_timeout.is_none())
    }

    /// Starts a process with an empty registry, or with what an earlier one has left on the disk.
    pub async fn start(&mut self) {
        let shutdown = CancellationToken::new();
        let (registry, persistence) = self.registry().await;
        let metrics = Metrics::new(&registry).expect("metrics");
        let resources: Arc<dyn Store> = match &self.stores {
            Some(stores) => Arc::clone(&stores.resources),
            None => Arc::new(MemoryStore::new()),
        };
        let identities =
            MeshIdentities::load(Arc::clone(&resources)).await.expect("a disk that does not fail");
        let keys = TokenKeys::load(resources, wall_clock()).await.expect("a disk that does not fail");
        keys.trust(vec![tokens::public_key()]).await.expect("one key");
        let keys = Arc::new(keys);
        let access = Access::new(Policy::default(), wall_clock);
        let trust = Trust::without_credentials(access).with_tokens(keys.verifier(), wall_clock);
        let authenticator = trust.listener(AnonymousAccess::Full);
        let control =
            AccessControl::new(Listener::Grpc, authenticator, metrics.refused.clone(), AuditLog::default());
        let grpc = Grpc::new(
            &registry,
            None,
            Limits::default(),
            CheckSettings::default(),
            GrpcAccess { control, keys: Arc::clone(&keys), identities: Arc::new(identities) },
            &metrics,
            shutdown.clone(),
        )
        .await
        .expect("a server");
        set_health(&grpc.health(), ServingStatus::Serving).await;
        let mut tasks = JoinSet::new();
        let serve = grpc.serve(self.network.listen());
        tasks.spawn(serve);
        if let Some(persistence) = persistence {
            let registry = registry.clone();
            tasks.spawn(async move { match persistence.run(&registry).await {} });
        }
        tasks.spawn(trust.run());
        let running = registry.clone();
        tasks.spawn(async move { running.run().await });
        self.process = Some(Process { shutdown, drain_timeout: None, tasks, registry, keys });
    }

    async fn registry(&self) -> (Registry, Option<Persistence>) {
        let Some(stores) = self.stores.clone() else {
            return (Registry::new(self.settings.clone()), None);
        };
        let now = wall_clock().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
        let first_revision = now.try_into().expect("a time of our era");
        let settings = RegistrySettings { first_revision, ..self.settings.clone() };
        let loaded = Persistence::load(stores, &settings).await;
        let Loaded { persistence, records, first_revision } = loaded.expect("a disk that does not fail");
        let registry = Registry::new(RegistrySettings { first_revision, ..settings });
        registry.restore(records, WARMING_TIMEOUT);
        (registry, Some(persistence))
    }

    /// Revokes tokens; returns false if no process can.
    pub async fn revoke(&self, tokens: &[TokenId]) -> bool {
        let Some(process) = self.process.as_ref().filter(|_| self.is_serving()) else { return false };
        for id in tokens {
            let revocation = Revocation { id: id.clone(), expires: tokens::end_of_time() };
            process.keys.revoke(&revocation, wall_clock()).await.expect("a disk that does not fail");
        }
        true
    }

    /// Whether a dataplane is connected, by the registry of the running process.
    pub fn is_connected(&self, dataplane: &DataplaneKey) -> bool {
        let view = self.process.as_ref().and_then(|process| process.registry.dataplane(dataplane));
        view.is_some_and(|view| view.session.is_some())
    }

    /// Takes the host down at once.
    pub fn crash(&mut self, crash: Crash) {
        if self.process.take().is_some() {
            self.stopped = Instant::now();
            self.network.crash_server(crash);
        }
    }

    /// Drains all sessions; those that are left after the timeout are reset.
    pub fn drain(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        process.shutdown.cancel();
        let network = self.network.clone();
        let incarnation = network.incarnation();
        process.drain_timeout.get_or_insert_with(|| {
            tokio::spawn(async move {
                tokio::time::sleep(DRAIN_TIMEOUT).await;
                if network.incarnation() == incarnation {
                    network.crash_server(Crash::Killed);
                }
            })
            .abort_handle()
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(drain_timeout) = &self.drain_timeout {
            drain_timeout.abort();
        }
        self.tasks.abort_all();
    }
}
