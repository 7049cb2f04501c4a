//! A proxy that flips its health continuously, and measures the latency of each ack.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    clients::Proxy,
    remote::Remote,
    support::{percentile::percentile, typical},
};

/// Time between flips: at most 1,000 per second.
const PERIOD: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Writer {
    proxy: Proxy,
    sequence: u64,
}

impl Writer {
    /// Connects the second proxy of the first Workload, on a connection of its own.
    pub(crate) async fn connect(remote: Remote) -> anyhow::Result<Self> {
        const { assert!(typical::PER_WORKLOAD > 1) };
        Ok(Self { proxy: Proxy::connect(remote, 1).await?, sequence: 0 })
    }

    /// Flips, each time after the ack of the last one, until `done` returns true for the number of flips.
    pub(crate) async fn flip(&mut self, done: impl Fn(usize) -> bool) -> anyhow::Result<AckLatencies> {
        let mut latencies = Vec::new();
        let mut clock = interval(PERIOD);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !done(latencies.len()) {
            clock.tick().await;
            self.sequence += 1;
            let start = Instant::now();
            self.proxy.report(self.sequence).await?;
            latencies.push(start.elapsed());
        }
        latencies.sort();
        Ok(AckLatencies(latencies))
    }
}

/// The latencies of acks, sorted.
#[derive(Debug)]
pub(crate) struct AckLatencies(Vec<Duration>);

impl AckLatencies {
    pub(crate) fn millis(&self, percent: usize) -> f64 {
        percentile(&self.0, percent).as_secs_f64() * 1e3
    }
}
