//! When to report: the bookkeeping of one session, without the stream.

use tokio::time::Instant;

use crate::model::{Health, HealthReport};

/// One report is under way at a time. What changes meanwhile waits for its ack
/// and goes out as one report of the newest state, so a slow server is told
/// less often and never something old.
#[derive(Debug)]
pub(super) struct Reports {
    sequence: u64,
    in_flight: Option<Instant>,
    due: bool,
}

impl Reports {
    /// A session begins with a report due.
    pub(super) fn new() -> Self {
        Self { sequence: 0, in_flight: None, due: true }
    }

    /// There is something to tell.
    pub(super) fn note(&mut self) {
        self.due = true;
    }

    /// The report to send now, if one is due and none under way.
    pub(super) fn next(&mut self, health: impl FnOnce() -> Health, now: Instant) -> Option<HealthReport> {
        if !self.due || self.in_flight.is_some() {
            return None;
        }
        self.due = false;
        self.in_flight = Some(now);
        self.sequence += 1;
        Some(HealthReport { sequence: self.sequence, health: health() })
    }

    /// When the report under way was sent.
    pub(super) fn sent_at(&self) -> Option<Instant> {
        self.in_flight
    }

    /// Takes an ack; returns when its report was sent. None if it answers
    /// nothing that is under way.
    pub(super) fn acked(&mut self, sequence: u64) -> Option<Instant> {
        if sequence == self.sequence { self.in_flight.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HealthState;

    fn sequence(reports: &mut Reports) -> Option<u64> {
        reports.next(Health::default, Instant::now()).map(|report| report.sequence)
    }

    #[test]
    fn the_first_report_is_due_at_once_and_only_once() {
        let mut reports = Reports::new();
        assert_eq!(sequence(&mut reports), Some(1));
        assert!(reports.acked(1).is_some());
        assert_eq!(sequence(&mut reports), None);
    }

    #[test]
    fn changes_wait_for_the_ack_and_become_one_report_of_the_newest() {
        let mut reports = Reports::new();
        assert_eq!(sequence(&mut reports), Some(1));
        reports.note();
        reports.note();
        assert_eq!(sequence(&mut reports), None);
        assert!(reports.acked(1).is_some());
        let newest = Health::of_proxy(HealthState::NotReady);
        let report = reports.next(|| newest, Instant::now()).unwrap();
        assert_eq!(report, HealthReport { sequence: 2, health: newest });
        assert!(reports.acked(2).is_some());
        assert_eq!(sequence(&mut reports), None);
    }

    #[test]
    fn an_ack_of_something_else_is_no_ack() {
        let mut reports = Reports::new();
        assert_eq!(reports.acked(0), None);
        assert_eq!(sequence(&mut reports), Some(1));
        for stranger in [0, 2, u64::MAX] {
            assert_eq!(reports.acked(stranger), None);
        }
        assert!(reports.sent_at().is_some());
        assert!(reports.acked(1).is_some());
        assert_eq!(reports.acked(1), None);
    }
}
