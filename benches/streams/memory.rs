//! What a connected proxy costs the server that holds it.

use std::{thread::sleep, time::Duration};

use anyhow::{bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Runtime;

use crate::{
    load::Proxy,
    server::{Server, Side},
    support::{
        process::{open_files, resident_bytes},
        rounds::Measure,
    },
};

/// Connections under way at the same time.
const AT_ONCE: usize = 64;
/// Between looks at the memory.
const LOOK: Duration = Duration::from_millis(500);
/// Looks, after which it must have settled.
const MOST_LOOKS: usize = 120;

pub(crate) struct Scale {
    pub(crate) rounds: usize,
    proxies: usize,
    /// Looks in a row that must see the same: longer than an interval between
    /// HTTP/2 keepalives (5 s).
    quiet_looks: usize,
}

pub(crate) const FULL: Scale = Scale { rounds: 3, proxies: 10_000, quiet_looks: 14 };

pub(crate) const QUICK: Scale = Scale { rounds: 1, proxies: 200, quiet_looks: 2 };

/// One round, with a fresh server: its growth, by proxy.
#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
pub(crate) fn round(side: Side, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let server = Server::start(side)?;
    let before = settled(server.pid(), 2)?;
    let runtime = Runtime::new()?;
    let proxies: Vec<Proxy> = runtime.block_on(async {
        let uri = &server.uri();
        stream::iter(0..scale.proxies)
            .map(|number| Proxy::connect(uri, number))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    })?;
    let after = settled(server.pid(), scale.quiet_looks)?;
    let open = open_files(server.pid())?;
    ensure!(open > proxies.len(), "connections were lost: {open} files are open");
    // First: clients that leave one by one would keep it busy for seconds.
    drop(server);
    let grown = after.saturating_sub(before) as f64;
    Ok(vec![Measure {
        name: "server memory per connected proxy",
        unit: "KiB",
        value: grown / 1024.0 / proxies.len() as f64,
    }])
}

/// The memory in use, once so many looks in a row saw the same within a
/// thousandth.
fn settled(pid: u32, quiet_looks: usize) -> anyhow::Result<u64> {
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
