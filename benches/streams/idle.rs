//! Idle proxies: connected, without reports after the hello. They run in a process of their own, so that
//! their cost is not measured with the client's.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{
    clients::{self, Proxy},
    remote::Remote,
    role::Role,
    support::child::{self, Process},
};

/// The interval of an agent's heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(6);
/// Sessions that are opened at the same time.
const CONCURRENT: usize = 64;

/// What to connect.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Idle {
    remote: Remote,
    proxies: usize,
    liveness: Liveness,
}

/// What idle proxies send.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Liveness {
    /// Acks of PINGs, over this many connections.
    Nothing { connections: usize },
    /// PINGs too, over connections with the settings of an agent.
    Pings,
    /// Heartbeats, over connections with the settings of an agent.
    Heartbeats,
}

/// Starts a child that connects this many proxies, until it is dropped. Agents have a connection each.
pub(crate) fn connect(remote: Remote, proxies: usize, liveness: Liveness) -> anyhow::Result<Process> {
    let role = Role::Idle(Idle { remote, proxies, liveness });
    let (process, _connected): (_, usize) = Process::start(&role)?;
    Ok(process)
}

/// In the child: connects the proxies, and keeps them connected until the parent exits.
pub(crate) fn run(Idle { remote, proxies, liveness }: &Idle) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let connected = match liveness {
        Liveness::Nothing { connections } => {
            runtime.block_on(clients::connect_many(*remote, 0..*proxies, *connections))?
        }
        Liveness::Pings => runtime.block_on(connect_agents(*remote, *proxies, None)).map(|()| Vec::new())?,
        Liveness::Heartbeats => runtime
            .block_on(connect_agents(*remote, *proxies, Some(HEARTBEAT_INTERVAL)))
            .map(|()| Vec::new())?,
    };
    child::announce(proxies)?;
    child::wait_for_parent_exit();
    drop(connected);
    // Skips the shutdown of ten thousand connections.
    std::process::exit(0)
}

/// Connects proxies, and keeps their sessions open. The child exits if a session ends.
async fn connect_agents(remote: Remote, proxies: usize, heartbeats: Option<Duration>) -> anyhow::Result<()> {
    let server = remote.agent_endpoint()?;
    let connect =
        async |number| Proxy::open(server.http2().connect().await?.into(), number, heartbeats).await;
    let connected = stream::iter(0..proxies).map(connect).buffer_unordered(CONCURRENT);
    connected
        .try_for_each(async |mut proxy| {
            tokio::spawn(async move {
                let ended = match heartbeats {
                    Some(interval) => format!("{:?}", proxy.send_heartbeats(interval).await),
                    None => format!("{:?}", proxy.responses.message().await),
                };
                eprintln!("a session ended: {ended}");
                std::process::exit(1)
            });
            Ok(())
        })
        .await
}
