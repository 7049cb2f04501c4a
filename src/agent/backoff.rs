//! How long to wait before the next attempt.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first retry comes within this time: most losses are one restart of one
/// server, and its proxies should be counted again at once.
const FIRST_CEILING: Duration = Duration::from_secs(1);
/// Ten thousand proxies that all wait for a dead server then knock about 670
/// times a second (30 s ceiling, so 15 s on average); a longer wait would keep
/// them out of the count for no gain.
const LAST_CEILING: Duration = Duration::from_secs(30);
/// What a server may ask for at most. A proxy that stays away for longer
/// because of one wrong number would look dead to everybody.
const LONGEST_REQUEST: Duration = Duration::from_hours(1);

/// Exponential backoff with full jitter: each wait is uniform between nothing
/// and a ceiling that doubles. Proxies that were lost together come back apart.
#[derive(Debug)]
pub struct Backoff {
    ceilings: ExponentialBackoff,
    random: fastrand::Rng,
}

impl Backoff {
    /// Before the first attempt.
    pub fn new(random: fastrand::Rng) -> Self {
        Self { ceilings: ceilings(), random }
    }

    /// The next wait. `asked` is what the server asked for, if it did: it sees
    /// the whole crowd and spreads it, so a little jitter is enough, and waits
    /// that grew on top would only keep us away after our time has come.
    pub fn next(&mut self, asked: Duration) -> Duration {
        let ceiling =
            if asked.is_zero() { self.ceilings.next().unwrap_or(LAST_CEILING) } else { FIRST_CEILING };
        asked.min(LONGEST_REQUEST) + ceiling.mul_f64(self.random.f64())
    }

    /// Starts over from the first ceiling.
    pub fn reset(&mut self) {
        self.ceilings = ceilings();
    }
}

fn ceilings() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_factor(2.0)
        .with_min_delay(FIRST_CEILING)
        .with_max_delay(LAST_CEILING)
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CEILINGS: [u64; 8] = [1, 2, 4, 8, 16, 30, 30, 30];

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    proptest! {
        #[test]
        fn every_wait_is_below_a_ceiling_that_grows(seed: u64) {
            let mut backoff = Backoff::new(fastrand::Rng::with_seed(seed));
            for ceiling in CEILINGS {
                let wait = backoff.next(Duration::ZERO);
                prop_assert!(wait <= seconds(ceiling), "{wait:?} of {ceiling} s");
            }
            backoff.reset();
            prop_assert!(backoff.next(Duration::ZERO) <= seconds(1));
        }

        #[test]
        fn a_wait_that_was_asked_for_is_kept_and_makes_no_other_longer(seed: u64, asked in 1_u64..7200) {
            let mut backoff = Backoff::new(fastrand::Rng::with_seed(seed));
            let least = seconds(asked.min(3600));
            for _ in 0..CEILINGS.len() {
                let wait = backoff.next(seconds(asked));
                prop_assert!(least <= wait && wait <= least + seconds(1), "{wait:?}");
            }
            prop_assert!(backoff.next(Duration::ZERO) <= seconds(1));
        }
    }

    #[test]
    fn waits_spread_over_the_whole_range() {
        let waits: Vec<_> =
            (0..1000).map(|seed| Backoff::new(fastrand::Rng::with_seed(seed)).next(Duration::ZERO)).collect();
        for tenth in 0..10_u32 {
            let range = FIRST_CEILING * tenth / 10..FIRST_CEILING * (tenth + 1) / 10;
            let hits = waits.iter().filter(|wait| range.contains(*wait)).count();
            assert!((60..=140).contains(&hits), "{hits} of 1000 in {range:?}");
        }
    }
}
