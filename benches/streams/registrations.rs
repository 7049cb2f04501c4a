//! Registrations per second over open connections: each is a new session, whose dataplane the server has not
//! known before, until its welcome. The sessions stay open.

use anyhow::ensure;
use tokio::{runtime::Runtime, time::Instant};

use crate::{
    bare_tonic::Mode,
    clients,
    rates::Rates,
    server::{SIDES, Server, Setup, Side},
    support::{
        process::processor_time,
        rounds::{Figure, Measure, compare},
    },
    watch::Watch,
};

struct Scale {
    rounds: usize,
    connections: usize,
    registrations: usize,
}

const FULL: Scale = Scale { rounds: 3, connections: 64, registrations: 30_000 };

const QUICK: Scale = Scale { rounds: 1, connections: 4, registrations: 400 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("registrations", scale.rounds, SIDES, |side| {
        let server = Server::start(Setup::new(side, Mode::Ack).without_session_rate_limit())?;
        let Rates { per_second, spent } = Runtime::new()?.block_on(run(&server, side, &scale))?;
        Ok(vec![
            Measure::new("registrations over 64 open connections", "per second", per_second),
            Measure::new("the server's processor time for each registration", "µs", spent),
        ])
    })
}

/// Registrations per second of a headcount server.
pub(crate) fn per_second(server: &Server, quick: bool) -> anyhow::Result<f64> {
    let scale = if quick { QUICK } else { FULL };
    Ok(Runtime::new()?.block_on(run(server, Side::Headcount, &scale))?.per_second)
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn run(server: &Server, side: Side, scale: &Scale) -> anyhow::Result<Rates> {
    let remote = server.remote();
    let connections = clients::connections(remote, scale.connections).await?;
    let (start, spent_before) = (Instant::now(), processor_time(server.pid())?);
    let proxies = clients::open_many(remote, &connections, 0..scale.registrations).await?;
    let took = start.elapsed().as_secs_f64();
    let spent = processor_time(server.pid())?.saturating_sub(spent_before);
    ensure!(proxies.len() == scale.registrations, "{} sessions are open", proxies.len());
    if side == Side::Headcount {
        let connected = Watch::open(remote).await?.sums().0;
        ensure!(connected as usize == scale.registrations, "{connected} are counted");
    }
    let registrations = scale.registrations as f64;
    Ok(Rates { per_second: registrations / took, spent: spent.as_secs_f64() * 1e6 / registrations })
}
