//! The two sides, as processes.

use std::net::SocketAddr;

use headcount::{app::App, config::Config};
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

/// How to start a side.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) side: Side,
    /// Of the bare side.
    pub(crate) job: Job,
    /// Whether the bare side sends PINGs as often as headcount does.
    pub(crate) keepalive: bool,
    /// Where; port 0 is any.
    pub(crate) addr: SocketAddr,
}

impl Setup {
    /// A side anywhere; the bare one with this job.
    pub(crate) fn new(side: Side, job: Job) -> Self {
        Self { side, job, keepalive: false, addr: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    /// What headcount runs with: its defaults.
    fn config(&self) -> Config {
        let http_addr = SocketAddr::from(([127, 0, 0, 1], 0));
        Config { grpc_addr: self.addr, http_addr, ..Config::default() }
    }
}

/// Where a side serves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Addresses {
    grpc: SocketAddr,
    /// Only headcount has it.
    http: Option<SocketAddr>,
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
            child::announce(&Addresses { grpc: bound.grpc, http: Some(bound.http) })?;
            child::until_parent_goes();
        }
        Side::Bare => {
            let grpc = runtime.block_on(bare::start(setup.addr, setup.job, setup.keepalive))?;
            child::announce(&Addresses { grpc, http: None })?;
            child::until_parent_goes();
        }
    }
    Ok(())
}
