//! Delays between attempts to reach a server.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tonic::Status;
use tonic_types::StatusExt as _;

/// Longest delay that a server may request. A client that stays away for longer because of one wrong
/// number looks dead.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// How a kind of client spreads its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A dataplane that reconnects: full jitter (uniform from 0 to a ceiling) with ceilings from 1 s to
    /// 5 s, so that after an outage of any length all are back within 10 s: an attempt that hangs takes
    /// up to 5 s, and the next one follows within the ceiling.
    ///
    /// At the last ceiling 10,000 dataplanes of a dead server make 4,000 attempts a second, which a server
    /// that returns sheds before it decodes them. A delay that the server
    /// requests replaces the ceiling: the server spreads the whole crowd over time, and a ceiling that
    /// has grown meanwhile would only add to its delay.
    Dataplane,
    /// A command that reads: base delays from 100 ms to 5 s, each lengthened by up to itself.
    ///
    /// A person is watching, so a server that restarts at once is found at once. A delay that the server
    /// requests is a lower bound.
    Reader,
}

impl Policy {
    /// The first and the longest delay, before jitter.
    const fn range(self) -> (Duration, Duration) {
        match self {
            Self::Dataplane => (Duration::from_secs(1), Duration::from_secs(5)),
            Self::Reader => (Duration::from_millis(100), Duration::from_secs(5)),
        }
    }

    fn delays(self) -> ExponentialBackoff {
        let (first, longest) = self.range();
        ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(first)
            .with_max_delay(longest)
            .without_max_times()
            .build()
    }
}

/// Exponential backoff with jitter, without a limit of attempts.
#[derive(Debug)]
pub struct Backoff {
    policy: Policy,
    delays: ExponentialBackoff,
    random: fastrand::Rng,
}

impl Backoff {
    /// A backoff before its first retry.
    pub fn new(policy: Policy) -> Self {
        Self::with_random(policy, fastrand::Rng::new())
    }

    fn with_random(policy: Policy, random: fastrand::Rng) -> Self {
        Self { policy, delays: policy.delays(), random }
    }

    /// Returns the delay before the next attempt. `requested` is the delay that the server asked for,
    /// zero if it did not; at most 1 h of it counts.
    pub fn next(&mut self, requested: Duration) -> Duration {
        let requested = requested.min(MAX_RETRY_AFTER);
        let (first, longest) = self.policy.range();
        match self.policy {
            Policy::Dataplane if !requested.is_zero() => requested + self.up_to(first),
            Policy::Dataplane => {
                let ceiling = self.delays.next().unwrap_or(longest);
                self.up_to(ceiling)
            }
            Policy::Reader => {
                let delay = self.delays.next().unwrap_or(longest);
                (delay + self.up_to(delay)).max(requested)
            }
        }
    }

    /// Starts over from the first delay.
    pub fn reset(&mut self) {
        self.delays = self.policy.delays();
    }

    fn up_to(&mut self, ceiling: Duration) -> Duration {
        ceiling.mul_f64(self.random.f64())
    }
}

/// Returns the retry delay that a server requests in a status (`google.rpc.RetryInfo`); zero if it
/// requests none.
pub fn retry_after(status: &Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    const CEILINGS: [u64; 8] = [1, 2, 4, 5, 5, 5, 5, 5];

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn dataplane(seed: u64) -> Backoff {
        Backoff::with_random(Policy::Dataplane, fastrand::Rng::with_seed(seed))
    }

    proptest! {
        #[test]
        fn delays_of_a_dataplane_stay_below_a_ceiling_that_doubles(seed: u64) {
            let mut backoff = dataplane(seed);
            for ceiling in CEILINGS {
                let delay = backoff.next(Duration::ZERO);
                prop_assert!(delay <= seconds(ceiling), "{delay:?}, ceiling {ceiling} s");
            }
            backoff.reset();
            prop_assert!(backoff.next(Duration::ZERO) <= seconds(1));
        }

        #[test]
        fn a_requested_delay_is_a_lower_bound_and_does_not_raise_the_ceiling(
            seed: u64,
            requested in 1_u64..7200,
        ) {
            let mut backoff = dataplane(seed);
            let least = seconds(requested.min(3600));
            for _ in 0..CEILINGS.len() {
                let delay = backoff.next(seconds(requested));
                prop_assert!(least <= delay && delay <= least + seconds(1), "{delay:?}");
            }
            prop_assert!(backoff.next(Duration::ZERO) <= seconds(1));
        }
    }

    #[test]
    fn full_jitter_spreads_delays_evenly() {
        let delays: Vec<_> = (0..1000).map(|seed| dataplane(seed).next(Duration::ZERO)).collect();
        for tenth in 0..10_u32 {
            let range = seconds(1) * tenth / 10..seconds(1) * (tenth + 1) / 10;
            let hits = delays.iter().filter(|delay| range.contains(*delay)).count();
            assert!((60..=140).contains(&hits), "{hits} of 1000 in {range:?}");
        }
    }

    #[test]
    fn delays_of_a_reader_grow_to_a_limit_and_never_end() {
        let mut backoff = Backoff::new(Policy::Reader);
        let delays: Vec<_> = (0..100).map(|_| backoff.next(Duration::ZERO)).collect();
        let (first, longest) = Policy::Reader.range();
        assert!(delays[0] >= first && delays[0] <= 2 * first, "{delays:?}");
        assert!(delays[99] >= longest && delays[99] <= 2 * longest, "{delays:?}");
    }

    #[test]
    fn a_reader_waits_at_least_as_long_as_the_status_requests() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_mins(1)));
        let status = Status::with_error_details(Code::ResourceExhausted, "", details);
        let delay = Backoff::new(Policy::Reader).next(retry_after(&status));
        assert_eq!(delay, Duration::from_mins(1));
        assert_eq!(retry_after(&Status::unavailable("")), Duration::ZERO);
    }
}
