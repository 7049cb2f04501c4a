//! The two sides, each as a child process.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use headcount::{
    app::App,
    config::{Config, KubeSettings},
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{
    bare_tonic::{self, Mode},
    durable::DataDir,
    remote::Remote,
    role::Role,
    security::Security,
    support::child::{self, Process},
};

/// A side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    /// The whole server.
    Headcount,
    /// The minimal tonic server.
    BareTonic,
}

/// Subject and baseline.
pub(crate) const SIDES: [Side; 2] = [Side::Headcount, Side::BareTonic];

/// New sessions per second: more than any load has.
const UNLIMITED_RATE: usize = 1_000_000;

/// More than the registration of a typical dataplane counts for.
const MAX_BYTES: usize = 16 * 1024;

/// How to start a side.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Setup {
    side: Side,
    addr: SocketAddr,
    /// What bare tonic does with reports.
    mode: Mode,
    /// Whether bare tonic sends keepalive PINGs at headcount's interval.
    keepalive: bool,
    /// Whether headcount admits new sessions at any rate.
    session_rate_unlimited: bool,
    /// Whether headcount applies every report at once, without throttling a flapping proxy.
    unthrottled: bool,
    /// headcount's limits of sessions and dataplanes; none for the defaults.
    sessions: Option<usize>,
    /// The process whose data directory headcount uses; none for none.
    data_dir: Option<u32>,
    /// TLS and tokens of the gRPC listener; none for plaintext.
    security: Option<Security>,
}

impl Setup {
    /// A side with its defaults, on any port; bare tonic in this mode.
    pub(crate) fn new(side: Side, mode: Mode) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            side,
            addr,
            mode,
            keepalive: false,
            session_rate_unlimited: false,
            unthrottled: false,
            sessions: None,
            data_dir: None,
            security: None,
        }
    }

    pub(crate) fn at(self, addr: SocketAddr) -> Self {
        Self { addr, ..self }
    }

    pub(crate) fn with_keepalive(self) -> Self {
        Self { keepalive: true, ..self }
    }

    /// For rows that do not measure how clients connect.
    pub(crate) fn without_session_rate_limit(self) -> Self {
        Self { session_rate_unlimited: true, ..self }
    }

    /// Without throttling too: for rows whose proxies flip faster than the throttle applies.
    pub(crate) fn without_limits(self) -> Self {
        Self { session_rate_unlimited: true, unthrottled: true, ..self }
    }

    /// With room for this many sessions, in one mesh.
    pub(crate) fn with_sessions(self, sessions: usize) -> Self {
        Self { sessions: Some(sessions), ..self }
    }

    /// With the data directory of this process.
    pub(crate) fn with_data_dir(self, parent: u32) -> Self {
        Self { data_dir: Some(parent), ..self }
    }

    /// With TLS, if there is `security`.
    pub(crate) fn with_security(self, security: Option<Security>) -> Self {
        Self { security, ..self }
    }

    fn config(&self) -> Config {
        let http_addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let kube = KubeSettings { addr: Some(http_addr), ..KubeSettings::default() };
        let mut config = Config { grpc_addr: self.addr, http_addr, kube, ..Config::default() };
        if self.session_rate_unlimited {
            config.registry.max_session_rate = UNLIMITED_RATE;
        }
        if self.unthrottled {
            config.registry.flap_interval = Duration::ZERO;
        }
        if let Some(sessions) = self.sessions {
            config.registry.max_sessions = sessions;
            config.registry.max_sessions_per_mesh = sessions;
            config.registry.max_dataplanes = sessions;
            config.registry.max_registered_bytes = sessions * MAX_BYTES;
            config.registry.max_registered_bytes_per_mesh = sessions * MAX_BYTES;
        }
        config.data_dir = self.data_dir.map(DataDir::path);
        if let Some(security) = self.security {
            config.tls = security.settings();
            config.access_file = security.access_file();
        }
        config
    }
}

/// The addresses of a side.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Addresses {
    grpc: SocketAddr,
    /// Headcount only, as the next one.
    http: Option<SocketAddr>,
    kube: Option<SocketAddr>,
}

/// A server in a child process.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    addresses: Addresses,
    security: Option<Security>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(setup: Setup) -> anyhow::Result<Self> {
        let (process, addresses) = Process::start(&Role::Serve(setup))?;
        Ok(Self { process, addresses, security: setup.security })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its process, which serves until that is dropped.
    pub(crate) fn into_process(self) -> Process {
        self.process
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// The gRPC listener as clients see it.
    pub(crate) fn remote(&self) -> Remote {
        Remote { addr: self.addresses.grpc, security: self.security }
    }

    /// The address of the metrics.
    pub(crate) fn http(&self) -> Option<SocketAddr> {
        self.addresses.http
    }

    /// The address of the Kubernetes API.
    pub(crate) fn kube(&self) -> anyhow::Result<SocketAddr> {
        self.addresses.kube.context("this side has no Kubernetes API")
    }
}

/// In the child: serves until the parent exits.
pub(crate) fn serve(setup: Setup) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    match setup.side {
        Side::Headcount => {
            let app = runtime.block_on(App::start(setup.config()))?;
            let bound = app.addresses();
            child::announce(&Addresses { grpc: bound.grpc, http: Some(bound.http), kube: bound.kube })?;
            child::wait_for_parent_exit();
        }
        Side::BareTonic => {
            let Setup { addr, mode, keepalive, security, .. } = setup;
            let grpc = runtime.block_on(bare_tonic::start(addr, mode, keepalive, security))?;
            child::announce(&Addresses { grpc, http: None, kube: None })?;
            child::wait_for_parent_exit();
        }
    }
    Ok(())
}
