//! Decides when a session sends its next report; knows no stream and no clock.

use tokio::time::Instant;

use crate::model::{Health, HealthReport};

/// Schedule of the reports of one session.
///
/// At most one report is in flight. Changes that happen before its ack are sent afterwards, as one
/// report of the latest health, so a slow server receives fewer reports and never an outdated one.
#[derive(Debug)]
pub(super) struct ReportSchedule {
    sequence: u64,
    in_flight: Option<Instant>,
    due: bool,
}

impl ReportSchedule {
    /// A new schedule; its first report is due immediately.
    pub(super) fn new() -> Self {
        Self { sequence: 0, in_flight: None, due: true }
    }

    /// Makes a report due.
    pub(super) fn request(&mut self) {
        self.due = true;
    }

    /// Returns the report to send now, if one is due and none is in flight.
    pub(super) fn next(&mut self, health: impl FnOnce() -> Health, now: Instant) -> Option<HealthReport> {
        if !self.due || self.in_flight.is_some() {
            return None;
        }
        self.due = false;
        self.in_flight = Some(now);
        self.sequence += 1;
        Some(HealthReport { sequence: self.sequence, health: health() })
    }

    /// When the report in flight was sent.
    pub(super) fn sent_at(&self) -> Option<Instant> {
        self.in_flight
    }

    /// Processes an ack. Returns when its report was sent, or none if that report is not in flight.
    pub(super) fn acked(&mut self, sequence: u64) -> Option<Instant> {
        if sequence == self.sequence { self.in_flight.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HealthState;

    fn sequence(reports: &mut ReportSchedule) -> Option<u64> {
        reports.next(Health::default, Instant::now()).map(|report| report.sequence)
    }

    #[test]
    fn the_first_report_is_due_immediately_and_once() {
        let mut reports = ReportSchedule::new();
        assert_eq!(sequence(&mut reports), Some(1));
        assert!(reports.acked(1).is_some());
        assert_eq!(sequence(&mut reports), None);
    }

    #[test]
    fn changes_before_an_ack_become_one_report_of_the_latest_health() {
        let mut reports = ReportSchedule::new();
        assert_eq!(sequence(&mut reports), Some(1));
        reports.request();
        reports.request();
        assert_eq!(sequence(&mut reports), None);
        assert!(reports.acked(1).is_some());
        let latest = Health::of_proxy(HealthState::NotReady);
        let report = reports.next(|| latest, Instant::now()).unwrap();
        assert_eq!(report, HealthReport { sequence: 2, health: latest });
        assert!(reports.acked(2).is_some());
        assert_eq!(sequence(&mut reports), None);
    }

    #[test]
    fn an_ack_of_another_sequence_is_ignored() {
        let mut reports = ReportSchedule::new();
        assert_eq!(reports.acked(0), None);
        assert_eq!(sequence(&mut reports), Some(1));
        for other in [0, 2, u64::MAX] {
            assert_eq!(reports.acked(other), None);
        }
        assert!(reports.sent_at().is_some());
        assert!(reports.acked(1).is_some());
        assert_eq!(reports.acked(1), None);
    }
}
