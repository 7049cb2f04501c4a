//! The server's CPU time while all connected proxies are idle.
//!
//! The only traffic is keepalive PINGs, which both sides send at the same interval, and their answers. The
//! clients are tonic's, without keepalive of their own.

use std::{thread::sleep, time::Duration};

use crate::{
    bare_tonic::Mode,
    idle,
    server::{SIDES, Server, Setup},
    support::{
        process::processor_time,
        rounds::{Figure, Measure, compare},
        target::Target,
    },
};

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
        let server =
            Server::start(Setup::new(side, Mode::Relay).without_session_rate_limit().with_keepalive())?;
        let _idle = idle::connect(&server.uri(), scale.proxies)?;
        sleep(scale.warm_up);
        let before = processor_time(server.pid())?;
        sleep(scale.time);
        let spent = processor_time(server.pid())?.saturating_sub(before);
        let percent = spent.as_secs_f64() / scale.time.as_secs_f64() * 100.0;
        let name = "processor time of 10,000 idle connected proxies";
        Ok(vec![Measure::new(name, "% of a core", percent).target(Target::AtMost(2.0))])
    })
}
