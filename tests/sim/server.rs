//! The machine that runs the server: all of it but the listeners.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use headcount::{
    config::Limits,
    envoy::checks::CheckSettings,
    grpc::{Grpc, set_health},
    registry::{Registry, RegistrySettings},
    telemetry::metrics::Metrics,
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

use crate::net::{Crash, Network};

/// How long a drain may take, as by default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

thread_local! {
    /// What the server's wall clock was set to, and when. A simulation has its
    /// thread for itself.
    static WALL: Cell<Option<(SystemTime, Instant)>> = const { Cell::new(None) };
}

/// Sets the server's wall clock to so many seconds since 1970, or before.
pub fn set_wall_clock(seconds: i64) {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
    WALL.set(Some((time, Instant::now())));
}

fn wall_clock() -> SystemTime {
    let (time, set_at) = WALL.get().expect("a clock that was set");
    time + set_at.elapsed()
}

/// The machine, and what runs on it.
#[derive(Debug)]
pub struct Server {
    network: Network,
    settings: RegistrySettings,
    running: Option<Running>,
}

/// One life of the server.
#[derive(Debug)]
struct Running {
    shutdown: CancellationToken,
    draining: Option<AbortHandle>,
    /// Its own tasks. Those of its connections end when these do and the
    /// connections are reset.
    tasks: JoinSet<()>,
}

impl Server {
    pub fn new(network: &Network, mut settings: RegistrySettings) -> Self {
        settings.wall_clock = wall_clock;
        Self { network: network.clone(), settings, running: None }
    }

    /// It runs, and has not been told to leave.
    pub fn is_serving(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.draining.is_none())
    }

    /// Starts with an empty registry.
    pub async fn start(&mut self) {
        let shutdown = CancellationToken::new();
        let registry = Registry::new(self.settings.clone());
        let metrics = Metrics::new(&registry).expect("metrics");
        let grpc =
            Grpc::new(&registry, Limits::default(), CheckSettings::default(), &metrics, shutdown.clone())
                .await
                .expect("a server");
        set_health(&grpc.health(), ServingStatus::Serving).await;
        let mut tasks = JoinSet::new();
        let serve = grpc.serve(self.network.listen());
        tasks.spawn(serve);
        tasks.spawn(async move { registry.run().await });
        self.running = Some(Running { shutdown, draining: None, tasks });
    }

    /// Goes down at once.
    pub fn crash(&mut self, crash: Crash) {
        if self.running.take().is_some() {
            self.network.crash_server(crash);
        }
    }

    /// Asks everybody to leave; who is still there at the end is cut.
    pub fn drain(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.shutdown.cancel();
        let network = self.network.clone();
        let lives = network.lives();
        running.draining.get_or_insert_with(|| {
            tokio::spawn(async move {
                tokio::time::sleep(DRAIN_TIMEOUT).await;
                if network.lives() == lives {
                    network.crash_server(Crash::Killed);
                }
            })
            .abort_handle()
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(draining) = &self.draining {
            draining.abort();
        }
        self.tasks.abort_all();
    }
}
