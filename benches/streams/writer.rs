//! A proxy that flips its health without end, and notes how long each ack takes.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    load::Proxy,
    support::{percentile::percentile, typical},
};

/// Between flips: at most a thousand in a second.
const PERIOD: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Writer {
    proxy: Proxy,
    sequence: u64,
}

impl Writer {
    /// The second proxy of the first Workload, on a connection of its own.
    pub(crate) async fn connect(uri: &str) -> anyhow::Result<Self> {
        const { assert!(typical::PER_WORKLOAD > 1) };
        Ok(Self { proxy: Proxy::connect(uri, 1).await?, sequence: 0 })
    }

    /// Flips, each time after the ack of the last, until it is over: `over` is
    /// told how many flips there were.
    pub(crate) async fn flip(&mut self, over: impl Fn(usize) -> bool) -> anyhow::Result<Waits> {
        let mut waits = Vec::new();
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !over(waits.len()) {
            clock.tick().await;
            self.sequence += 1;
            let start = Instant::now();
            self.proxy.report(self.sequence).await?;
            waits.push(start.elapsed());
        }
        waits.sort();
        Ok(Waits(waits))
    }
}

/// How long the acks took, the shortest first.
#[derive(Debug)]
pub(crate) struct Waits(Vec<Duration>);

impl Waits {
    pub(crate) fn millis(&self, percent: usize) -> f64 {
        percentile(&self.0, percent).as_secs_f64() * 1e3
    }
}
