//! The background work of the registry.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Registry, shards::shrink_sparse, shared::Shared};

/// The pause between two checks for idle sessions: short enough for timeouts in seconds,
/// and 10,000 sessions cost ten wake-ups a second instead of one each.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How often memory is given back. A large fleet that leaves does so over minutes.
const SHRINK_INTERVAL: Duration = Duration::from_mins(1);

impl Registry {
    /// Wakes watchers, ends idle sessions and expired registrations, and gives memory
    /// back. Runs until dropped.
    pub async fn run(&self) {
        let shared = &self.shared;
        tokio::join!(
            shared.log.run_notifier(),
            shared.run_retention(),
            shared.run_idle_checks(),
            shared.run_shrinking()
        );
    }
}

impl Shared {
    /// Ends once lost dataplanes are kept: their deadlines pass without effect.
    async fn run_retention(&self) {
        while !self.keeps_lost() {
            self.retention.wait().await;
            self.expire(Instant::now());
        }
    }

    async fn run_idle_checks(&self) {
        loop {
            self.idle.wait().await;
            self.lose_idle(Instant::now());
            sleep(IDLE_CHECK_INTERVAL).await;
        }
    }

    async fn run_shrinking(&self) {
        let mut ticks = interval(SHRINK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.histories.expire(Instant::now());
            shrink_sparse(&self.dataplanes);
            self.entries.shrink();
        }
    }
}
