//! The server's CPU time while all connected proxies are idle.
//!
//! * `silence`: headcount against bare tonic. The only traffic is keepalive PINGs of the server, at the same
//!   interval on both sides, and their acks. The clients are tonic's, without keepalive of their own.
//! * `heartbeats`: headcount with the heartbeats of agents, against the PINGs that they replace, which server and
//!   agents send. Both detect each other's failure on both sides.

use std::{thread::sleep, time::Duration};

use anyhow::ensure;

use crate::{
    bare_tonic::Mode,
    idle::{self, Liveness},
    server::{SIDES, Server, Setup, Side},
    support::{
        process::{open_files, processor_time},
        rounds::{Figure, Measure, compare},
        target::Target,
    },
};

pub(crate) const HEARTBEATS: &str = "heartbeats";

pub(crate) const HEARTBEAT_SIDES: [&str; 2] = ["with heartbeats", "with PINGs"];

struct Scale {
    rounds: usize,
    proxies: usize,
    /// Delay after the last one has connected.
    warm_up: Duration,
    time: Duration,
}

const FULL: Scale =
    Scale { rounds: 3, proxies: 10_000, warm_up: Duration::from_secs(5), time: Duration::from_secs(30) };

const QUICK: Scale =
    Scale { rounds: 1, proxies: 200, warm_up: Duration::from_millis(100), time: Duration::from_secs(6) };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("silence", scale.rounds, SIDES, |side| {
        let percent = processor_percent(side, Liveness::Nothing { connections: scale.proxies }, &scale)?;
        let name = "processor time of 10,000 idle connected proxies";
        Ok(vec![Measure::new(name, "% of a core", percent).target(Target::AtMost(2.0))])
    })
}

pub(crate) fn measure_heartbeats(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare(HEARTBEATS, scale.rounds, [Liveness::Heartbeats, Liveness::Pings], |liveness| {
        let percent = processor_percent(Side::Headcount, liveness, &scale)?;
        let name = "processor time of 10,000 idle agents";
        Ok(vec![Measure::new(name, "% of a core", percent).target(Target::RatioAtMost(1.0))])
    })
}

/// The server's processor time, in percent of a core.
fn processor_percent(side: Side, liveness: Liveness, scale: &Scale) -> anyhow::Result<f64> {
    let server = Server::start(Setup::new(side, Mode::Relay).without_session_rate_limit().with_keepalive())?;
    let _idle = idle::connect(server.remote(), scale.proxies, liveness)?;
    sleep(scale.warm_up);
    let before = processor_time(server.pid())?;
    sleep(scale.time);
    let spent = processor_time(server.pid())?.saturating_sub(before);
    let open = open_files(server.pid())?;
    ensure!(open > scale.proxies, "connections were lost: {open} files are open");
    Ok(spent.as_secs_f64() / scale.time.as_secs_f64() * 100.0)
}
