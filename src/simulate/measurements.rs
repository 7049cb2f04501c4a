//! What the sessions of a load test measure.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{agent::SessionEnd, model::Invalid};

/// Measurements of all sessions.
#[derive(Debug)]
pub(super) struct Measurements {
    /// Times from a report to its ack, in microseconds.
    pub(super) acks: Histogram<u64>,
    /// Attempts that ended before their session was open.
    pub(super) retries: u64,
    /// Why the first of them ended.
    pub(super) first_retry: Option<String>,
    /// Sessions that the server asked to reconnect.
    pub(super) drained: u64,
    /// Open sessions that ended in another way, and proxies that the server refused.
    pub(super) lost: u64,
    /// Why the first of them ended.
    pub(super) first_loss: Option<String>,
}

impl Measurements {
    /// # Errors
    ///
    /// None in fact: the bounds of the histogram are valid.
    pub(super) fn new() -> Result<Self, Invalid> {
        // 1 us to 1 min with three significant digits: about 100 kB, for any number of acks.
        let acks = Histogram::new_with_bounds(1, 60_000_000, 3)
            .map_err(|error| Invalid::new("acks", error.to_string()))?;
        Ok(Self { acks, retries: 0, first_retry: None, drained: 0, lost: 0, first_loss: None })
    }

    pub(super) fn acked(&mut self, after: Duration) {
        self.acks.saturating_record(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }

    /// Records the end of an attempt after which the proxy tries again. `open` is whether its session
    /// was open.
    pub(super) fn ended(&mut self, end: &SessionEnd, open: bool) {
        match end {
            SessionEnd::Drained { .. } if open => self.drained += 1,
            end if open => self.lost(reason(end)),
            end => {
                self.retries += 1;
                self.first_retry.get_or_insert_with(|| reason(end));
            }
        }
    }

    /// Records a session that ended for good without a goodbye.
    pub(super) fn lost(&mut self, reason: String) {
        self.lost += 1;
        self.first_loss.get_or_insert(reason);
    }
}

/// Why a session ended, for people.
pub(super) fn reason(end: &SessionEnd) -> String {
    match end {
        SessionEnd::Goodbye => "goodbye".to_owned(),
        SessionEnd::Drained { reason, .. } => reason.clone(),
        SessionEnd::Superseded(status)
        | SessionEnd::Refused(status)
        | SessionEnd::Denied(status)
        | SessionEnd::Lost(status) => {
            format!("{:?}: {}", status.code(), status.message())
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn only_an_open_session_can_be_lost() {
        let mut measurements = Measurements::new().unwrap();
        let rejected = SessionEnd::Lost(Status::resource_exhausted("max-session-rate"));
        measurements.ended(&rejected, false);
        measurements.ended(&rejected, false);
        let drained = SessionEnd::Drained { retry_after: Duration::ZERO, reason: "drain".to_owned() };
        measurements.ended(&drained, true);
        assert_eq!((measurements.retries, measurements.drained, measurements.lost), (2, 1, 0));
        assert_eq!(measurements.first_retry.as_deref(), Some("ResourceExhausted: max-session-rate"));

        measurements.ended(&SessionEnd::Lost(Status::unavailable("reset")), true);
        measurements.lost("refused".to_owned());
        assert_eq!((measurements.retries, measurements.drained, measurements.lost), (2, 1, 2));
        assert_eq!(measurements.first_loss.as_deref(), Some("Unavailable: reset"));
    }
}
