//! The two sides, as processes.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use headcount::{
    app::App,
    config::{Config, KubeSettings},
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{
    bare::{self, Job},
    role::Role,
    support::child::{self, Process},
};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    /// The whole server.
    Headcount,
    /// tonic as it comes, and nothing behind it.
    Bare,
}

/// The two, as the table has them.
pub(crate) const SIDES: [Side; 2] = [Side::Headcount, Side::Bare];

/// Sessions in a second that no load reaches.
const ANY_RATE: usize = 1_000_000;

/// How to start a side.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Setup {
    side: Side,
    addr: SocketAddr,
    /// Of the bare side.
    job: Job,
    /// Whether the bare side sends PINGs as often as headcount does.
    keepalive: bool,
    /// Whether headcount lets in new sessions as fast as they come.
    any_rate: bool,
    /// Whether headcount shows each change of a proxy that flaps.
    any_pace: bool,
}

impl Setup {
    /// A side with its defaults, anywhere; the bare one with this job.
    pub(crate) fn new(side: Side, job: Job) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { side, addr, job, keepalive: false, any_rate: false, any_pace: false }
    }

    pub(crate) fn at(self, addr: SocketAddr) -> Self {
        Self { addr, ..self }
    }

    pub(crate) fn with_keepalive(self) -> Self {
        Self { keepalive: true, ..self }
    }

    /// For a row that is not about how a crowd comes in.
    pub(crate) fn at_any_rate(self) -> Self {
        Self { any_rate: true, ..self }
    }

    /// For a row in which proxies flap faster than anybody would be shown.
    pub(crate) fn at_any_pace(self) -> Self {
        Self { any_rate: true, any_pace: true, ..self }
    }

    fn config(&self) -> Config {
        let http_addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let kube = KubeSettings { addr: Some(http_addr), ..KubeSettings::default() };
        let mut config = Config { grpc_addr: self.addr, http_addr, kube, ..Config::default() };
        if self.any_rate {
            config.registry.max_session_rate = ANY_RATE;
        }
        if self.any_pace {
            config.registry.flap_interval = Duration::ZERO;
        }
        config
    }
}

/// Where a side serves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Addresses {
    grpc: SocketAddr,
    /// Only headcount has these.
    http: Option<SocketAddr>,
    kube: Option<SocketAddr>,
}

/// A server in a process of its own.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    addresses: Addresses,
}

impl Server {
    /// A fresh one, ready.
    pub(crate) fn start(setup: Setup) -> anyhow::Result<Self> {
        let (process, addresses) = Process::start(&Role::Serve(setup))?;
        Ok(Self { process, addresses })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Of metrics.
    pub(crate) fn http(&self) -> Option<SocketAddr> {
        self.addresses.http
    }

    /// Of the Kubernetes API.
    pub(crate) fn kube(&self) -> anyhow::Result<SocketAddr> {
        self.addresses.kube.context("it has no Kubernetes address")
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.addresses.grpc)
    }
}

/// In the role: serves until the benchmark ends.
pub(crate) fn serve(setup: Setup) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    match setup.side {
        Side::Headcount => {
            let app = runtime.block_on(App::start(setup.config()))?;
            let bound = app.addresses();
            child::announce(&Addresses { grpc: bound.grpc, http: Some(bound.http), kube: bound.kube })?;
            child::until_parent_goes();
        }
        Side::Bare => {
            let grpc = runtime.block_on(bare::start(setup.addr, setup.job, setup.keepalive))?;
            child::announce(&Addresses { grpc, http: None, kube: None })?;
            child::until_parent_goes();
        }
    }
    Ok(())
}
