//! What connected proxies cost the server's processor while they say nothing.
//!
//! Only keepalives go over their connections, and both sides send those as
//! often. The proxies are those of the plain client, which sends none of its
//! own.

use std::{thread::sleep, time::Duration};

use crate::{
    bare::Job,
    idle,
    server::{SIDES, Server, Setup},
    support::{
        process::processor_time,
        reach::Reach,
        rounds::{Figure, Measure, compare},
    },
};

struct Scale {
    rounds: usize,
    proxies: usize,
    /// After the last has connected.
    settle: Duration,
    time: Duration,
}

const FULL: Scale =
    Scale { rounds: 3, proxies: 10_000, settle: Duration::from_secs(5), time: Duration::from_secs(30) };

const QUICK: Scale =
    Scale { rounds: 1, proxies: 200, settle: Duration::from_millis(100), time: Duration::from_secs(6) };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("silence", scale.rounds, SIDES, |side| {
        let server = Server::start(Setup::new(side, Job::Relay).at_any_rate().with_keepalive())?;
        let _idle = idle::connect(&server.uri(), scale.proxies)?;
        sleep(scale.settle);
        let before = processor_time(server.pid())?;
        sleep(scale.time);
        let spent = processor_time(server.pid())?.saturating_sub(before);
        let percent = spent.as_secs_f64() / scale.time.as_secs_f64() * 100.0;
        let name = "processor time of 10,000 connected proxies that say nothing";
        Ok(vec![Measure::new(name, "% of a core", percent).reach(Reach::AtMost(2.0))])
    })
}
