//! Many more sessions than connections, as behind a proxy that multiplexes: memory, CPU time while they are
//! idle, and the latency from a report to its delta.

use std::{thread::sleep, time::Duration};

use crate::{
    bare_tonic::Mode,
    idle::{self, Liveness},
    latency::latencies,
    memory::stable_memory,
    server::{SIDES, Server, Setup},
    support::{
        percentile::percentile,
        process::processor_time,
        rounds::{Figure, Measure, compare},
    },
};

struct Scale {
    sessions: usize,
    connections: usize,
    /// Consecutive readings of the memory that must be equal.
    stable_polls: usize,
    /// How long the CPU time of idle sessions is measured.
    silence: Duration,
    warm_up: usize,
    reports: usize,
}

const FULL: Scale = Scale {
    sessions: 200_000,
    connections: 2_000,
    stable_polls: 14,
    silence: Duration::from_secs(20),
    warm_up: 500,
    reports: 3_000,
};

const QUICK: Scale = Scale {
    sessions: 1_000,
    connections: 10,
    stable_polls: 2,
    silence: Duration::from_secs(1),
    warm_up: 50,
    reports: 200,
};

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("scale", 1, SIDES, |side| {
        let setup = Setup::new(side, Mode::RelayAndAck).without_limits().with_keepalive();
        // The reporter is one more.
        let server = Server::start(setup.with_sessions(scale.sessions + 1))?;
        let before = stable_memory(server.pid(), 2)?;
        let _idle = idle::connect(
            server.remote(),
            scale.sessions,
            Liveness::Nothing { connections: scale.connections },
        )?;
        let grown = stable_memory(server.pid(), scale.stable_polls)?.saturating_sub(before) as f64;
        let spent_before = processor_time(server.pid())?;
        sleep(scale.silence);
        let spent = processor_time(server.pid())?.saturating_sub(spent_before);
        let (latencies, _) = latencies(&server, scale.warm_up, scale.reports)?;
        let micros = |percent| percentile(&latencies, percent).as_secs_f64() * 1e6;
        Ok(vec![
            Measure::new(
                "server memory per session, 200,000 over 2,000 connections",
                "KiB",
                grown / 1024.0 / scale.sessions as f64,
            ),
            Measure::new(
                "processor time while they are idle",
                "% of a core",
                spent.div_duration_f64(scale.silence) * 100.0,
            ),
            Measure::new("a report to a watcher meanwhile, p50", "µs", micros(50)),
            Measure::new("a report to a watcher meanwhile, p99", "µs", micros(99)),
        ])
    })
}
