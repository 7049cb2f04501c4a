//! What a connected proxy costs the server that holds it.

use std::{thread::sleep, time::Duration};

use anyhow::{bail, ensure};
use tokio::runtime::Runtime;

use crate::{
    bare::Job,
    load::{self, Proxy},
    server::{SIDES, Server, Setup, Side},
    support::{
        process::{open_files, resident_bytes},
        reach::Reach,
        rounds::{Figure, Measure, compare},
    },
};

/// Between looks at the memory.
const LOOK: Duration = Duration::from_millis(500);
/// Looks, after which it must have settled.
const MOST_LOOKS: usize = 120;

struct Scale {
    rounds: usize,
    proxies: usize,
    shared: usize,
    /// Looks in a row that must see the same: longer than an interval between
    /// HTTP/2 keepalives (5 s).
    quiet_looks: usize,
}

const FULL: Scale = Scale { rounds: 3, proxies: 10_000, shared: 100, quiet_looks: 12 };

const QUICK: Scale = Scale { rounds: 1, proxies: 200, shared: 4, quiet_looks: 2 };

pub(crate) fn own_connections(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("memory", scale.rounds, SIDES, |side| {
        let name = "server memory per proxy, 10,000 on own connections";
        let kib = round(side, &scale, scale.proxies)?;
        Ok(vec![Measure::new(name, "KiB", kib).reach(Reach::RatioAtMost(0.8))])
    })
}

pub(crate) fn shared_connections(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("memory-shared", scale.rounds, SIDES, |side| {
        let name = "server memory per proxy, 10,000 over 100 connections";
        let kib = round(side, &scale, scale.shared)?;
        Ok(vec![Measure::new(name, "KiB", kib).reach(Reach::RatioAtMost(0.45))])
    })
}

/// How it grows with the proxies, each on a connection of its own.
pub(crate) fn slope(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let (scale, steps): (_, &[u32]) =
        if quick { (QUICK, &[20, 50, 100, 200]) } else { (FULL, &[1_000, 2_500, 5_000, 10_000]) };
    compare("memory-slope", 1, SIDES, |side| {
        let mut holding = Holding::start(side)?;
        let mut slope = Vec::new();
        for step in steps {
            let more = *step as usize - holding.proxies.len();
            let kib = holding.grow(more, more, scale.quiet_looks)?;
            slope.push(Measure::new("memory", "KiB", kib).at(*step));
        }
        Ok(slope)
    })
}

/// One round, with a fresh server: its growth in KiB, by proxy.
fn round(side: Side, scale: &Scale, connections: usize) -> anyhow::Result<f64> {
    Holding::start(side)?.grow(scale.proxies, connections, scale.quiet_looks)
}

/// A server, and the proxies that it holds. The server goes first: clients that
/// leave one by one would keep it busy for seconds.
struct Holding {
    server: Server,
    /// In use by a server that holds none.
    before: u64,
    proxies: Vec<Proxy>,
    connections: usize,
    runtime: Runtime,
}

impl Holding {
    fn start(side: Side) -> anyhow::Result<Self> {
        let server = Server::start(Setup::new(side, Job::Relay))?;
        let before = settled(server.pid(), 2)?;
        Ok(Self { server, before, proxies: Vec::new(), connections: 0, runtime: Runtime::new()? })
    }

    /// Lets in more, over so many more connections; the growth in KiB so far, by
    /// proxy.
    #[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
    fn grow(&mut self, more: usize, connections: usize, quiet_looks: usize) -> anyhow::Result<f64> {
        let here = self.proxies.len();
        let uri = self.server.uri();
        let crowd = load::crowd(&uri, here..here + more, connections);
        self.proxies.extend(self.runtime.block_on(crowd)?);
        self.connections += connections;
        let after = settled(self.server.pid(), quiet_looks)?;
        let open = open_files(self.server.pid())?;
        ensure!(open > self.connections, "connections were lost: {open} files are open");
        let grown = after.saturating_sub(self.before) as f64;
        Ok(grown / 1024.0 / self.proxies.len() as f64)
    }
}

/// The memory in use, once so many looks in a row saw the same within a
/// thousandth.
pub(crate) fn settled(pid: u32, quiet_looks: usize) -> anyhow::Result<u64> {
    let mut settled_at = resident_bytes(pid)?;
    let mut quiet = 0;
    for _ in 0..MOST_LOOKS {
        sleep(LOOK);
        let now = resident_bytes(pid)?;
        if now.abs_diff(settled_at) <= settled_at / 1_000 {
            quiet += 1;
        } else {
            (settled_at, quiet) = (now, 0);
        }
        if quiet == quiet_looks {
            return Ok(now);
        }
    }
    bail!("the server's memory does not settle")
}
