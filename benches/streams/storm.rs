//! A reconnect storm: the server is killed, another one starts at the same address once all agents have
//! noticed, and all reconnect. Measures the time until all are counted again, and the server's peak memory.

use anyhow::ensure;
use tokio::{
    runtime::Runtime,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    agents::{Agents, BACKOFF_RESET_AFTER},
    bare_tonic::Mode,
    memory::stable_memory,
    security::{Files, Security},
    server::{SIDES, Server, Setup, Side},
    support::{
        process::peak_resident_bytes,
        rounds::{Figure, Measure, compare},
        target::Target,
    },
    watch::Watch,
};

struct Scale {
    rounds: usize,
    proxies: usize,
    /// Consecutive readings of the memory that must be equal.
    stable_polls: usize,
}

const FULL: Scale = Scale { rounds: 3, proxies: 10_000, stable_polls: 14 };

const QUICK: Scale = Scale { rounds: 1, proxies: 200, stable_polls: 2 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("storm", scale.rounds, SIDES, |side| {
        let (took, peak) = round(side, None, &scale)?;
        Ok(vec![
            Measure::new("10,000 reconnected after a restart, and counted right", "s", took)
                .target(Target::AtMost(10.0)),
            Measure::new("peak memory after the restart, to steady memory", "times", peak)
                .target(Target::AtMost(1.5)),
        ])
    })
}

/// The same with TLS and tokens. Bare tonic does not verify the tokens.
pub(crate) fn with_tls(quick: bool, files: &Files) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("tls-storm", scale.rounds, SIDES, |side| {
        let (took, peak) = round(side, Some(files.tls_and_tokens()), &scale)?;
        Ok(vec![
            Measure::new("10,000 with tokens reconnected after a restart, and counted right", "s", took)
                .target(Target::RatioAtMost(1.1)),
            Measure::new("peak memory after the restart, to steady memory", "times", peak),
        ])
    })
}

/// The seconds until all have reconnected, and the peak of the memory, as a multiple of the steady one.
fn round(side: Side, security: Option<Security>, scale: &Scale) -> anyhow::Result<(f64, f64)> {
    // The runtime is dropped with all agents before the next round.
    Runtime::new()?.block_on(restart(side, security, scale))
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn restart(side: Side, security: Option<Security>, scale: &Scale) -> anyhow::Result<(f64, f64)> {
    let setup = Setup::new(side, Mode::Ack).with_security(security);
    let server = Server::start(setup)?;
    let addr = server.addr();
    let agents = Agents::start(server.remote(), scale.proxies)?;
    agents.until_all_connected().await?;
    sleep(BACKOFF_RESET_AFTER).await;

    let start = Instant::now();
    drop(server);
    agents.until_none_connected().await?;
    let server = Server::start(setup.at(addr))?;
    if side == Side::Headcount {
        let all = u32::try_from(scale.proxies)?;
        Watch::open(server.remote()).await?.until(|watch| watch.sums() == (all, all)).await?;
    }
    agents.until_all_connected().await?;
    let took = start.elapsed().as_secs_f64();

    let (pid, stable_polls) = (server.pid(), scale.stable_polls);
    let steady = spawn_blocking(move || stable_memory(pid, stable_polls)).await??;
    let peak = peak_resident_bytes(pid)?;
    ensure!(agents.connected() == scale.proxies, "some agents have disconnected again");
    Ok((took, peak as f64 / steady as f64))
}
