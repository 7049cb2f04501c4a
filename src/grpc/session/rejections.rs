//! A limit on rejected hellos per client address.
//!
//! A rejected hello takes no token of the session rate, so that clients whose hellos are
//! invalid can't keep others out. But it was read, logged, and perhaps recorded as an
//! event. An address whose clients are rejected too often is therefore shed before its
//! next hello is read.

use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::net::address_buckets::AddressBuckets;

/// The size of an address's bucket: rejections at once after a quiet period.
const BURST: Duration = Duration::from_secs(1);

/// A token bucket for each address. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct RejectionLimiter {
    /// Rejections per second and address.
    rate: usize,
    buckets: Arc<Mutex<AddressBuckets>>,
}

/// The clients of an address were rejected too often.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyRejections {
    /// Rejections per second.
    pub(super) limit: usize,
    /// When a token will be available.
    pub(super) retry_after: Duration,
}

impl RejectionLimiter {
    /// A limiter of `rate` rejections per second and address; 0 counts as 1.
    pub(super) fn new(rate: usize) -> Self {
        // Hellos that were read before the limit was reached are rejected after it, and are no debt.
        let buckets = AddressBuckets::new(BURST, BURST);
        Self { rate: rate.max(1), buckets: Arc::new(Mutex::new(buckets)) }
    }

    /// Checks whether a hello from this address may be read.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), TooManyRejections> {
        let retry_after = self.buckets.lock().wait(address, self.interval(), Instant::now());
        if retry_after.is_zero() {
            return Ok(());
        }
        Err(TooManyRejections { limit: self.rate, retry_after })
    }

    /// Takes a token for a hello from this address that was rejected.
    pub(super) fn record(&self, address: IpAddr) {
        self.buckets.lock().take(address, self.interval(), Instant::now());
    }

    /// The time that one token takes to refill.
    fn interval(&self) -> Duration {
        BURST / u32::try_from(self.rate).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 10;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn read(limiter: &RejectionLimiter, from: &str, hellos: usize) -> usize {
        let address = address(from);
        let read =
            (0..hellos).filter(|_| limiter.check(address).is_ok().then(|| limiter.record(address)).is_some());
        read.count()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_a_burst_and_then_the_rate() {
        let limiter = RejectionLimiter::new(RATE);
        assert_eq!(read(&limiter, "192.0.2.1", 100), RATE);
        assert_eq!(read(&limiter, "192.0.2.2", 100), RATE, "another address");
        let shed = limiter.check(address("192.0.2.1"));
        assert_eq!(shed, Err(TooManyRejections { limit: RATE, retry_after: Duration::from_millis(100) }));
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(read(&limiter, "192.0.2.1", 100), 3);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(read(&limiter, "192.0.2.1", 100), RATE);
    }
}
