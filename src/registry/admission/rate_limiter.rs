//! How fast new sessions are admitted: a token bucket whose last half is reserved for
//! registered dataplanes.
//!
//! After a restart all proxies reconnect at once, and most must be rejected at little
//! cost. Each gets a retry delay of its own, so that they return as fast as they can be
//! admitted and no faster.

use std::time::Duration;

use tokio::time::Instant;

use super::LimitReached;
use crate::runtime::sync::Mutex;

/// The size of the bucket: sessions that are admitted at once after a quiet period.
const BURST: Duration = Duration::from_secs(1);
/// The shortest retry delay. Shorter ones cost more attempts than they save time.
const MIN_RETRY_AFTER: Duration = Duration::from_millis(200);
/// The longest retry delay. A proxy that stays away longer looks dead to an operator.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A token bucket, kept as the time when it will be full again.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// New sessions per second.
    rate: usize,
    /// The time that one token takes to refill.
    interval: Duration,
    state: Mutex<Option<State>>,
}

/// Each time is later than now by the tokens or retry times already handed out.
#[derive(Debug, Clone, Copy)]
struct State {
    /// When the bucket will be full again.
    full_at: Instant,
    /// The latest retry time that was handed out.
    last_retry_at: Instant,
}

/// What is known of a client that requests a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientClass {
    /// Its hello has not been read.
    Unidentified,
    /// Its dataplane is registered.
    Registered,
    /// Its dataplane is not registered.
    New,
}

/// What a client does with a retry delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryBehavior {
    /// It reconnects after the delay.
    HonorsRetryAfter,
    /// It reconnects within a second whatever the delay, as Envoy does. No retry time
    /// is reserved for it, so that such clients do not delay the others.
    IgnoresRetryAfter,
}

impl RateLimiter {
    /// A limiter of `rate` new sessions per second; 0 counts as 1.
    pub(crate) fn new(rate: usize) -> Self {
        let interval = BURST / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
        Self { rate, interval, state: Mutex::new(None) }
    }

    /// Takes a token, for a session that opens now.
    ///
    /// # Errors
    ///
    /// [`LimitReached::SessionRate`] with the client's retry delay.
    pub(crate) fn admit(&self, class: ClientClass, retry: RetryBehavior) -> Result<(), LimitReached> {
        let mut state = self.state.lock();
        // Read under the lock, so that times follow the order of admissions.
        self.admit_at(&mut state, class, retry, Instant::now())
    }

    /// Checks whether there is a token.
    ///
    /// # Errors
    ///
    /// As [`RateLimiter::admit`].
    pub(crate) fn check(&self, class: ClientClass, retry: RetryBehavior) -> Result<(), LimitReached> {
        let mut state = self.state.lock();
        self.check_at(&mut state, class, retry, Instant::now())
    }

    fn admit_at(
        &self,
        state: &mut Option<State>,
        class: ClientClass,
        retry: RetryBehavior,
        now: Instant,
    ) -> Result<(), LimitReached> {
        self.check_at(state, class, retry, now)?;
        let State { full_at, last_retry_at } = state.unwrap_or(State { full_at: now, last_retry_at: now });
        *state = Some(State { full_at: full_at.max(now) + self.interval, last_retry_at });
        Ok(())
    }

    fn check_at(
        &self,
        state: &mut Option<State>,
        class: ClientClass,
        retry: RetryBehavior,
        now: Instant,
    ) -> Result<(), LimitReached> {
        let State { full_at, last_retry_at } = state.unwrap_or(State { full_at: now, last_retry_at: now });
        let taken = full_at.saturating_duration_since(now);
        let allowed = match class {
            ClientClass::Unidentified | ClientClass::Registered => BURST,
            // At the lowest rates half of the bucket is less than one token.
            ClientClass::New => (BURST / 2).max(self.interval),
        };
        if taken + self.interval <= allowed {
            return Ok(());
        }
        let retry_at = last_retry_at.max(now + MIN_RETRY_AFTER).min(now + MAX_RETRY_AFTER) + self.interval;
        if retry == RetryBehavior::HonorsRetryAfter {
            *state = Some(State { full_at, last_retry_at: retry_at });
        }
        Err(LimitReached::SessionRate { limit: self.rate, retry_after: retry_at - now })
    }

    /// How long it takes to admit so many sessions, at most [`MAX_RETRY_AFTER`].
    pub(crate) fn time_to_admit(&self, sessions: usize) -> Duration {
        self.interval.saturating_mul(u32::try_from(sessions).unwrap_or(u32::MAX)).min(MAX_RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 100;

    fn admit(
        limiter: &RateLimiter,
        class: ClientClass,
        retry: RetryBehavior,
        now: Instant,
    ) -> Result<(), LimitReached> {
        limiter.admit_at(&mut limiter.state.lock(), class, retry, now)
    }

    fn check(limiter: &RateLimiter, now: Instant) -> Result<(), LimitReached> {
        let retry = RetryBehavior::HonorsRetryAfter;
        limiter.check_at(&mut limiter.state.lock(), ClientClass::Unidentified, retry, now)
    }

    fn admitted(limiter: &RateLimiter, class: ClientClass, times: usize, now: Instant) -> usize {
        (0..times).filter(|_| admit(limiter, class, RetryBehavior::HonorsRetryAfter, now).is_ok()).count()
    }

    #[test]
    fn a_burst_of_one_second_is_admitted_and_then_the_rate() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        assert_eq!(admitted(&limiter, ClientClass::Registered, 1_000, start), RATE);
        let later = start + Duration::from_millis(250);
        assert_eq!(admitted(&limiter, ClientClass::Registered, 1_000, later), RATE / 4);
        assert_eq!(admitted(&limiter, ClientClass::Registered, 1_000, later + Duration::from_hours(1)), RATE);
    }

    #[test]
    fn new_dataplanes_leave_half_of_the_burst_to_registered_ones() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        assert_eq!(admitted(&limiter, ClientClass::New, 1_000, start), RATE / 2);
        assert!(check(&limiter, start).is_ok(), "it may be a registered one");
        assert_eq!(admitted(&limiter, ClientClass::Registered, 1_000, start), RATE / 2);
        assert!(check(&limiter, start).is_err());
        let later = start + Duration::from_millis(100);
        assert_eq!(admitted(&limiter, ClientClass::New, 1_000, later), 0, "the first half fills first");
        assert_eq!(admitted(&limiter, ClientClass::Registered, 1_000, later), RATE / 10);
    }

    #[test]
    fn clients_that_ignore_retry_after_do_not_delay_those_that_honor_it() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        admitted(&limiter, ClientClass::Registered, RATE, start);
        for _ in 0..10_000 {
            assert!(
                admit(&limiter, ClientClass::Unidentified, RetryBehavior::IgnoresRetryAfter, start).is_err()
            );
        }
        let honoring = admit(&limiter, ClientClass::Registered, RetryBehavior::HonorsRetryAfter, start);
        assert!(
            matches!(honoring, Err(LimitReached::SessionRate { retry_after, .. }) if retry_after < BURST)
        );
    }

    #[test]
    fn the_time_to_readmit_grows_with_the_sessions() {
        let limiter = RateLimiter::new(RATE);
        assert_eq!(limiter.time_to_admit(10 * RATE), 10 * BURST);
        assert_eq!(limiter.time_to_admit(usize::MAX), MAX_RETRY_AFTER);
    }

    #[test]
    fn the_lowest_rate_admits_new_dataplanes_too() {
        let (limiter, start) = (RateLimiter::new(1), Instant::now());
        assert_eq!(admitted(&limiter, ClientClass::New, 10, start), 1);
        assert_eq!(admitted(&limiter, ClientClass::New, 10, start + BURST), 1);
    }

    #[test]
    fn each_rejected_client_gets_a_delay_of_its_own_within_the_bounds() {
        let (limiter, start) = (RateLimiter::new(RATE), Instant::now());
        admitted(&limiter, ClientClass::Registered, RATE, start);
        let delays: Vec<_> = (0..10_000)
            .map(|_| match admit(&limiter, ClientClass::Registered, RetryBehavior::HonorsRetryAfter, start) {
                Err(LimitReached::SessionRate { retry_after, .. }) => retry_after,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(
            delays[0] >= MIN_RETRY_AFTER
                && delays.iter().all(|wait| *wait <= MAX_RETRY_AFTER + limiter.interval)
        );
        let in_a_second = |second| delays.iter().filter(|wait| wait.as_secs() == second).count();
        assert_eq!((in_a_second(1), in_a_second(5)), (RATE, RATE));
        // A client that is rejected after all those delays have passed need not wait for them.
        let later = start + Duration::from_mins(5);
        admitted(&limiter, ClientClass::Registered, RATE, later);
        assert!(
            matches!(admit(&limiter, ClientClass::Registered, RetryBehavior::HonorsRetryAfter, later), Err(LimitReached::SessionRate { retry_after, .. }) if retry_after < BURST)
        );
    }
}
