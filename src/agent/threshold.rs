//! How many results in a row it takes to change a mind.

use crate::model::HealthState;

/// Both are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes in a row that make it ready.
    pub healthy: u32,
    /// Failures in a row that make it not ready.
    pub unhealthy: u32,
}

impl Default for Thresholds {
    /// Every result counts, as in Kuma's HDS defaults.
    fn default() -> Self {
        Self { healthy: 1, unhealthy: 1 }
    }
}

/// The state that a row of results adds up to.
#[derive(Debug)]
pub(super) struct Verdict {
    thresholds: Thresholds,
    state: HealthState,
    /// Results in a row that speak against `state`.
    against: u32,
}

impl Verdict {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, state: HealthState::Unknown, against: 0 }
    }

    /// Takes one result and returns the state if it is a new one. The very
    /// first result decides alone: unknown is no state worth keeping, and an
    /// application that is up should not wait to be counted.
    pub(super) fn record(&mut self, up: bool) -> Option<HealthState> {
        let (now, needed) = if up {
            (HealthState::Ready, self.thresholds.healthy)
        } else {
            (HealthState::NotReady, self.thresholds.unhealthy)
        };
        if now == self.state {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.state != HealthState::Unknown && self.against < needed {
            return None;
        }
        self.against = 0;
        self.state = now;
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthState::{NotReady, Ready};

    /// What each result of a row (`+` success, `-` failure) changes.
    fn changes(healthy: u32, unhealthy: u32, results: &str) -> Vec<Option<HealthState>> {
        let mut verdict = Verdict::new(Thresholds { healthy, unhealthy });
        results.chars().map(|result| verdict.record(result == '+')).collect()
    }

    #[test]
    fn the_first_result_decides_at_once() {
        assert_eq!(changes(5, 5, "+"), [Some(Ready)]);
        assert_eq!(changes(5, 5, "-"), [Some(NotReady)]);
    }

    #[test]
    fn with_thresholds_of_one_every_result_counts() {
        assert_eq!(changes(1, 1, "+-+"), [Some(Ready), Some(NotReady), Some(Ready)]);
    }

    #[test]
    fn it_takes_as_many_in_a_row_as_the_threshold_says() {
        assert_eq!(changes(1, 3, "+---"), [Some(Ready), None, None, Some(NotReady)]);
        assert_eq!(changes(2, 1, "-++"), [Some(NotReady), None, Some(Ready)]);
    }

    #[test]
    fn a_row_that_breaks_starts_over() {
        assert_eq!(changes(1, 3, "+--+--")[1..], [None; 5]);
        assert_eq!(changes(2, 1, "-+-+")[1..], [None; 3]);
    }

    #[test]
    fn more_of_the_same_changes_nothing() {
        assert_eq!(changes(1, 1, "+++")[1..], [None, None]);
        assert_eq!(changes(3, 3, "---")[1..], [None, None]);
    }
}
