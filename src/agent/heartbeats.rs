//! Decides when a session sends its next heartbeat; knows no stream and no clock.

use std::time::Duration;

use tokio::time::Instant;

/// Longest time for which a session sends nothing. Together with [`ACK_TIMEOUT`] it is below 10 s, the
/// documented time within which a failure is detected. It is a little below the default of the server's
/// `--keepalive-interval`, so that heartbeats take the place of PINGs in both directions.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(6);
/// Longest time from a heartbeat to its ack.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_secs(3);

/// Schedule of the heartbeats of one session: one whenever nothing else was sent for an interval, and at
/// most one in flight.
#[derive(Debug)]
pub(super) struct HeartbeatSchedule {
    /// Whether the server answers heartbeats.
    enabled: bool,
    /// When the last message of any kind was sent.
    last_sent: Instant,
    /// When the heartbeat was sent whose ack is awaited.
    in_flight: Option<Instant>,
}

impl HeartbeatSchedule {
    /// A new schedule, of a session that has just sent a message.
    pub(super) fn new(enabled: bool, now: Instant) -> Self {
        Self { enabled, last_sent: now, in_flight: None }
    }

    /// Records another message, which takes the place of a heartbeat.
    pub(super) fn message_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Records a heartbeat.
    pub(super) fn heartbeat_sent(&mut self, now: Instant) {
        self.last_sent = now;
        self.in_flight = Some(now);
    }

    /// Processes an ack.
    pub(super) fn acked(&mut self) {
        self.in_flight = None;
    }

    /// Whether an ack is awaited: at the deadline the server is lost, otherwise a heartbeat is due.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// When the ack is overdue or the next heartbeat is due; none if the server does not answer heartbeats.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let next = self.in_flight.map_or(self.last_sent + HEARTBEAT_INTERVAL, |sent| sent + ACK_TIMEOUT);
        self.enabled.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_due_an_interval_after_the_last_message() {
        let start = Instant::now();
        let mut heartbeats = HeartbeatSchedule::new(true, start);
        assert_eq!(heartbeats.deadline(), Some(start + HEARTBEAT_INTERVAL));
        let reported = start + HEARTBEAT_INTERVAL / 2;
        heartbeats.message_sent(reported);
        assert_eq!(heartbeats.deadline(), Some(reported + HEARTBEAT_INTERVAL));
        assert!(!heartbeats.is_in_flight());
    }

    #[test]
    fn an_ack_is_overdue_whatever_else_is_sent() {
        let start = Instant::now();
        let mut heartbeats = HeartbeatSchedule::new(true, start);
        heartbeats.heartbeat_sent(start);
        heartbeats.message_sent(start + ACK_TIMEOUT / 2);
        assert!(heartbeats.is_in_flight());
        assert_eq!(heartbeats.deadline(), Some(start + ACK_TIMEOUT));
        heartbeats.acked();
        assert!(!heartbeats.is_in_flight());
        assert_eq!(heartbeats.deadline(), Some(start + ACK_TIMEOUT / 2 + HEARTBEAT_INTERVAL));
    }

    #[test]
    fn a_server_without_heartbeats_is_sent_none() {
        assert_eq!(HeartbeatSchedule::new(false, Instant::now()).deadline(), None);
    }
}
