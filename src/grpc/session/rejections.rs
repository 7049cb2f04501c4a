//! A limit on rejected hellos per client address.
//!
//! A rejected hello takes no token of the session rate, so that clients whose hellos are
//! invalid can't keep others out. But it was read, logged, and perhaps recorded as an
//! event. An address whose clients are rejected too often is therefore shed before its
//! next hello is read.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::net::client_address::client_address;

/// The size of an address's bucket: rejections at once after a quiet period.
const BURST: Duration = Duration::from_secs(1);
/// Addresses that are remembered, about 200 kB. Rejections of further addresses are not
/// limited until an older one has been quiet for a second.
const MAX_ADDRESSES: usize = 4_096;

/// A token bucket for each address. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct RejectionLimiter {
    /// Rejections per second and address.
    rate: usize,
    /// When the bucket of an address will be full again.
    full_at: Arc<Mutex<HashMap<IpAddr, Instant>>>,
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
        Self { rate: rate.max(1), full_at: Arc::default() }
    }

    /// Checks whether a hello from this address may be read.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), TooManyRejections> {
        let Some(full_at) = self.full_at.lock().get(&client_address(address)).copied() else { return Ok(()) };
        let taken = full_at.saturating_duration_since(Instant::now());
        let retry_after = (taken + self.interval()).saturating_sub(BURST);
        if retry_after.is_zero() {
            return Ok(());
        }
        Err(TooManyRejections { limit: self.rate, retry_after })
    }

    /// Takes a token for a hello from this address that was rejected.
    pub(super) fn record(&self, address: IpAddr) {
        let (address, now) = (client_address(address), Instant::now());
        let mut full_at = self.full_at.lock();
        if full_at.len() >= MAX_ADDRESSES && !full_at.contains_key(&address) {
            full_at.retain(|_, full_at| *full_at > now);
            if full_at.len() >= MAX_ADDRESSES {
                return;
            }
        }
        let full_at = full_at.entry(address).or_insert(now);
        // Hellos that were read before the limit was reached are rejected after it.
        *full_at = ((*full_at).max(now) + self.interval()).min(now + BURST);
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

    #[test]
    fn a_host_cannot_avoid_the_limit_by_other_addresses_of_its_network() {
        let limiter = RejectionLimiter::new(RATE);
        assert_eq!(read(&limiter, "2001:db8::1", 100), RATE);
        assert_eq!(read(&limiter, "2001:db8::ffff:1", 100), 0);
        assert_eq!(read(&limiter, "2001:db8:0:1::1", 100), RATE, "another network");
        assert_eq!(read(&limiter, "192.0.2.1", 100), RATE);
        assert_eq!(read(&limiter, "::ffff:192.0.2.1", 100), 0, "the same address, mapped");
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded_and_quiet_addresses_are_forgotten() {
        let limiter = RejectionLimiter::new(RATE);
        let reject = |hosts: std::ops::Range<u32>| {
            for host in hosts {
                limiter.record(IpAddr::V4(host.into()));
            }
        };
        reject(0..2 * 4_096);
        assert_eq!(limiter.full_at.lock().len(), MAX_ADDRESSES);
        tokio::time::advance(BURST).await;
        reject(10_000..10_001);
        assert_eq!(limiter.full_at.lock().len(), 1);
    }
}
