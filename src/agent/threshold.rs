//! Thresholds: how many consecutive results change a health state.

use crate::model::HealthState;

/// Consecutive results that change a state. Both are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Consecutive successes that make a port ready.
    pub healthy: u32,
    /// Consecutive failures that make a port not ready.
    pub unhealthy: u32,
}

impl Default for Thresholds {
    /// Every result changes the state, as by default in Kuma.
    fn default() -> Self {
        Self { healthy: 1, unhealthy: 1 }
    }
}

/// Derives a health state from the results of a probe.
#[derive(Debug)]
pub(super) struct StateTracker {
    thresholds: Thresholds,
    state: HealthState,
    /// Consecutive results that contradict `state`.
    contradicting: u32,
}

impl StateTracker {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, state: HealthState::Unknown, contradicting: 0 }
    }

    /// Records one result, and returns the state if it changed. The first result decides alone,
    /// whatever the thresholds: a running application should be counted at once.
    pub(super) fn record(&mut self, passed: bool) -> Option<HealthState> {
        let (now, needed) = if passed {
            (HealthState::Ready, self.thresholds.healthy)
        } else {
            (HealthState::NotReady, self.thresholds.unhealthy)
        };
        if now == self.state {
            self.contradicting = 0;
            return None;
        }
        self.contradicting += 1;
        if self.state != HealthState::Unknown && self.contradicting < needed {
            return None;
        }
        self.contradicting = 0;
        self.state = now;
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthState::{NotReady, Ready};

    /// The change after each result of `results` (`+` is a success, `-` a failure).
    fn changes(healthy: u32, unhealthy: u32, results: &str) -> Vec<Option<HealthState>> {
        let mut tracker = StateTracker::new(Thresholds { healthy, unhealthy });
        results.chars().map(|result| tracker.record(result == '+')).collect()
    }

    #[test]
    fn the_first_result_decides_alone() {
        assert_eq!(changes(5, 5, "+"), [Some(Ready)]);
        assert_eq!(changes(5, 5, "-"), [Some(NotReady)]);
    }

    #[test]
    fn with_thresholds_of_one_every_result_changes_the_state() {
        assert_eq!(changes(1, 1, "+-+"), [Some(Ready), Some(NotReady), Some(Ready)]);
    }

    #[test]
    fn a_change_takes_as_many_consecutive_results_as_the_threshold() {
        assert_eq!(changes(1, 3, "+---"), [Some(Ready), None, None, Some(NotReady)]);
        assert_eq!(changes(2, 1, "-++"), [Some(NotReady), None, Some(Ready)]);
    }

    #[test]
    fn an_opposite_result_resets_the_count() {
        assert_eq!(changes(1, 3, "+--+--")[1..], [None; 5]);
        assert_eq!(changes(2, 1, "-+-+")[1..], [None; 3]);
    }

    #[test]
    fn equal_results_change_nothing() {
        assert_eq!(changes(1, 1, "+++")[1..], [None, None]);
        assert_eq!(changes(3, 3, "---")[1..], [None, None]);
    }
}
