//! How long to wait before the next attempt.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tonic::Status;
use tonic_types::StatusExt as _;

/// A person is watching: a server that restarts at once is found at once.
const FIRST: Duration = Duration::from_millis(100);
/// Many watchers may be waiting for one server.
const LONGEST: Duration = Duration::from_secs(5);
/// A server that asks for more is mistaken, or none of ours.
const LONGEST_ASKED: Duration = Duration::from_hours(1);

/// Delays that double, each lengthened at random by up to itself, so that
/// clients of a server that went away do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff(backon::ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        let delays = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(fastrand::u64(..));
        Self(delays.build())
    }
}

impl Backoff {
    /// The delay before the next attempt; at least what the server asked for.
    pub(super) fn after(&mut self, status: &Status) -> Duration {
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        self.0.next().unwrap_or(LONGEST).max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_never_end() {
        let mut backoff = Backoff::default();
        let lost = Status::unavailable("");
        let delays: Vec<_> = (0..100).map(|_| backoff.after(&lost)).collect();
        assert!(delays[0] >= FIRST && delays[0] <= 2 * FIRST, "{delays:?}");
        assert!(delays[99] >= LONGEST && delays[99] <= 2 * LONGEST, "{delays:?}");
    }

    #[test]
    fn the_server_can_ask_for_more() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_mins(1)));
        let status = Status::with_error_details(Code::ResourceExhausted, "", details);
        assert_eq!(Backoff::default().after(&status), Duration::from_mins(1));
    }
}
