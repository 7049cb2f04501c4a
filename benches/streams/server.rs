//! The two sides, as processes.

use std::{fmt, net::SocketAddr, str::FromStr};

use anyhow::bail;
use headcount::{app::App, config::Config};
use tokio::runtime::Runtime;

use crate::{
    bare,
    support::child::{self, Role},
};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The whole server, as it is by default.
    Headcount,
    /// tonic as it comes, and nothing behind it.
    Bare,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headcount => "headcount",
            Self::Bare => "bare tonic",
        })
    }
}

impl FromStr for Side {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let sides = [Self::Headcount, Self::Bare];
        match sides.into_iter().find(|side| side.to_string() == text) {
            Some(side) => Ok(side),
            None => bail!("{text}: is no side"),
        }
    }
}

/// A server in a process of its own.
#[derive(Debug)]
pub(crate) struct Server {
    process: Role,
    addr: SocketAddr,
}

impl Server {
    /// A fresh one, ready.
    pub(crate) fn start(side: Side) -> anyhow::Result<Self> {
        let (process, addr) = Role::start(&side.to_string())?;
        Ok(Self { process, addr })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// In the role: serves until the benchmark ends.
pub(crate) fn serve(side: Side) -> anyhow::Result<()> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let runtime = Runtime::new()?;
    match side {
        Side::Headcount => {
            let config = Config { grpc_addr: anywhere, http_addr: anywhere, ..Config::default() };
            let app = runtime.block_on(App::start(config))?;
            child::announce(&app.addresses().grpc)?;
            child::until_parent_goes();
        }
        Side::Bare => {
            child::announce(&runtime.block_on(bare::start(anywhere))?)?;
            child::until_parent_goes();
        }
    }
    Ok(())
}
