//! Proxies that are connected and say nothing, in a process of their own: what
//! they cost their own side shall not be measured with the server's.

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{
    load,
    role::Role,
    support::child::{self, Process},
};

/// A crowd of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    uri: String,
    proxies: usize,
}

/// Connects so many, each on a connection of its own; they stay until the
/// process is dropped.
pub(crate) fn connect(uri: &str, proxies: usize) -> anyhow::Result<Process> {
    let crowd = Role::Idle(Idle { uri: uri.to_owned(), proxies });
    let (process, _connected): (_, usize) = Process::start(&crowd)?;
    Ok(process)
}

/// In the role: connects, and stays.
pub(crate) fn idle(Idle { uri, proxies }: &Idle) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let crowd = runtime.block_on(load::crowd(uri, 0..*proxies, *proxies))?;
    child::announce(&crowd.len())?;
    child::until_parent_goes();
    // Who is leaving need not say so ten thousand times.
    std::process::exit(0)
}
