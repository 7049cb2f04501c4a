//! The server dies, another one starts at the same address as soon as all
//! proxies have noticed, and all come back.

use anyhow::ensure;
use tokio::{
    runtime::Runtime,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    bare::Job,
    crowd::{Crowd, SETTLED},
    memory::settled,
    server::{SIDES, Server, Setup, Side},
    support::{
        process::peak_resident_bytes,
        reach::Reach,
        rounds::{Figure, Measure, compare},
    },
    watch::Watch,
};

struct Scale {
    rounds: usize,
    proxies: usize,
    /// Looks at the memory, in a row, that must see the same.
    quiet_looks: usize,
}

const FULL: Scale = Scale { rounds: 3, proxies: 10_000, quiet_looks: 14 };

const QUICK: Scale = Scale { rounds: 1, proxies: 200, quiet_looks: 2 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("storm", scale.rounds, SIDES, |side| {
        // Dropped with all that is in it, before the next round.
        Runtime::new()?.block_on(round(side, &scale))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn round(side: Side, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let setup = Setup::new(side, Job::Echo);
    let server = Server::start(setup)?;
    let addr = server.addr();
    let crowd = Crowd::start(&server.uri(), scale.proxies)?;
    crowd.all_up().await?;
    sleep(SETTLED).await;

    let start = Instant::now();
    drop(server);
    crowd.none_up().await?;
    let server = Server::start(setup.at(addr))?;
    if side == Side::Headcount {
        let all = u32::try_from(scale.proxies)?;
        Watch::open(&server.uri()).await?.until(|watch| watch.sums() == (all, all)).await?;
    }
    crowd.all_up().await?;
    let took = start.elapsed().as_secs_f64();

    let (pid, looks) = (server.pid(), scale.quiet_looks);
    let steady = spawn_blocking(move || settled(pid, looks)).await??;
    let peak = peak_resident_bytes(pid)?;
    ensure!(crowd.up() == scale.proxies, "some were lost again");
    Ok(vec![
        Measure::new("10,000 back after a restart, and counted right", "s", took).reach(Reach::AtMost(10.0)),
        Measure::new("peak memory after the restart, to steady memory", "times", peak as f64 / steady as f64)
            .reach(Reach::AtMost(1.5)),
    ])
}
