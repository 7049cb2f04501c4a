//! Memory of the server for each connected, idle proxy.

use std::{thread::sleep, time::Duration};

use anyhow::{bail, ensure};
use tokio::runtime::Runtime;

use crate::{
    bare_tonic::Mode,
    clients::{self, Proxy},
    security::{Files, Security},
    server::{SIDES, Server, Setup, Side},
    support::{
        process::{open_files, resident_bytes},
        rounds::{Figure, Measure, compare},
        target::Target,
    },
};

/// Time between two readings of the memory.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Readings until the memory must be stable.
const MAX_POLLS: usize = 120;

struct Scale {
    rounds: usize,
    proxies: usize,
    shared: usize,
    /// Consecutive readings that must be equal.
    stable_polls: usize,
}

const FULL: Scale = Scale { rounds: 2, proxies: 10_000, shared: 100, stable_polls: 12 };

const QUICK: Scale = Scale { rounds: 1, proxies: 200, shared: 4, stable_polls: 2 };

pub(crate) fn own_connections(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("memory", scale.rounds, SIDES, |side| {
        let name = "server memory per proxy, 10,000 on own connections";
        let kib = round(side, None, &scale, scale.proxies)?;
        Ok(vec![Measure::new(name, "KiB", kib).target(Target::RatioAtMost(0.8))])
    })
}

/// The same with TLS on all connections.
pub(crate) fn with_tls(quick: bool, files: &Files) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("tls-memory", scale.rounds, SIDES, |side| {
        let name = "server memory per proxy, 10,000 on own connections";
        let kib = round(side, Some(files.tls()), &scale, scale.proxies)?;
        Ok(vec![Measure::new(name, "KiB", kib).target(Target::RatioAtMost(0.85))])
    })
}

pub(crate) const COST_SIDES: [&str; 2] = ["headcount, TLS and tokens", "headcount, plaintext"];

/// What TLS and tokens add to the memory of headcount.
pub(crate) fn cost_of_tls(quick: bool, files: &Files) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("tls-cost", scale.rounds, [Some(files.tls_and_tokens()), None], |security| {
        let name = "server memory per proxy, 10,000 on own connections";
        let kib = round(Side::Headcount, security, &scale, scale.proxies)?;
        Ok(vec![Measure::new(name, "KiB", kib).target(Target::MoreByAtMost(12.0))])
    })
}

pub(crate) fn shared_connections(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("memory-shared", scale.rounds, SIDES, |side| {
        let name = "server memory per proxy, 10,000 over 100 connections";
        let kib = round(side, None, &scale, scale.shared)?;
        Ok(vec![Measure::new(name, "KiB", kib).target(Target::RatioAtMost(0.45))])
    })
}

/// Memory per proxy against the number of proxies, each on a connection of its own.
pub(crate) fn slope(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let (scale, steps): (_, &[u32]) =
        if quick { (QUICK, &[20, 50, 100, 200]) } else { (FULL, &[1_000, 2_500, 5_000, 10_000]) };
    compare("memory-slope", 1, SIDES, |side| {
        let mut loaded = LoadedServer::start(side, None)?;
        let mut slope = Vec::new();
        for step in steps {
            let more = *step as usize - loaded.proxies.len();
            let kib = loaded.grow(more, more, scale.stable_polls)?;
            slope.push(Measure::new("memory", "KiB", kib).at(*step));
        }
        Ok(slope)
    })
}

/// Runs one round with a fresh server; returns its growth per proxy in KiB.
fn round(side: Side, security: Option<Security>, scale: &Scale, connections: usize) -> anyhow::Result<f64> {
    LoadedServer::start(side, security)?.grow(scale.proxies, connections, scale.stable_polls)
}

/// A server and its connected proxies. The server is dropped first: clients that disconnect one by one would
/// keep it busy for seconds.
struct LoadedServer {
    server: Server,
    /// Memory before the first proxy.
    before: u64,
    proxies: Vec<Proxy>,
    connections: usize,
    runtime: Runtime,
}

impl LoadedServer {
    fn start(side: Side, security: Option<Security>) -> anyhow::Result<Self> {
        let setup = Setup::new(side, Mode::Relay).without_session_rate_limit().with_security(security);
        let server = Server::start(setup)?;
        let before = stable_memory(server.pid(), 2)?;
        Ok(Self { server, before, proxies: Vec::new(), connections: 0, runtime: Runtime::new()? })
    }

    /// Connects more proxies, over this many more connections; returns the total growth per proxy in KiB.
    #[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
    fn grow(&mut self, more: usize, connections: usize, stable_polls: usize) -> anyhow::Result<f64> {
        let connected = self.proxies.len();
        let remote = self.server.remote();
        let proxies = clients::connect_many(remote, connected..connected + more, connections);
        self.proxies.extend(self.runtime.block_on(proxies)?);
        self.connections += connections;
        let after = stable_memory(self.server.pid(), stable_polls)?;
        let open = open_files(self.server.pid())?;
        ensure!(open > self.connections, "connections were lost: {open} files are open");
        let grown = after.saturating_sub(self.before) as f64;
        Ok(grown / 1024.0 / self.proxies.len() as f64)
    }
}

/// Waits until this many consecutive readings are equal within a thousandth; returns the last one.
pub(crate) fn stable_memory(pid: u32, stable_polls: usize) -> anyhow::Result<u64> {
    let mut reference = resident_bytes(pid)?;
    let mut equal = 0;
    for _ in 0..MAX_POLLS {
        sleep(POLL_INTERVAL);
        let now = resident_bytes(pid)?;
        if now.abs_diff(reference) <= reference / 1_000 {
            equal += 1;
        } else {
            (reference, equal) = (now, 0);
        }
        if equal == stable_polls {
            return Ok(now);
        }
    }
    bail!("the server's memory does not become stable")
}
