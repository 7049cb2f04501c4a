//! Idle proxies: connected, without reports after the hello. They run in a process of their own, so that
//! their cost is not measured with the client's.

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{
    clients,
    role::Role,
    support::child::{self, Process},
};

/// What to connect.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    uri: String,
    proxies: usize,
}

/// Starts a child that connects this many proxies, each on a connection of its own, until it is dropped.
pub(crate) fn connect(uri: &str, proxies: usize) -> anyhow::Result<Process> {
    let role = Role::Idle(Idle { uri: uri.to_owned(), proxies });
    let (process, _connected): (_, usize) = Process::start(&role)?;
    Ok(process)
}

/// In the child: connects the proxies, and keeps them connected until the parent exits.
pub(crate) fn run(Idle { uri, proxies }: &Idle) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let proxies = runtime.block_on(clients::connect_many(uri, 0..*proxies, *proxies))?;
    child::announce(&proxies.len())?;
    child::wait_for_parent_exit();
    // Skips the shutdown of ten thousand connections.
    std::process::exit(0)
}
