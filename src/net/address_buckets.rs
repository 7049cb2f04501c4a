//! A token bucket for each client address.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::client_address::client_address;

/// Addresses that are remembered, about 300 kB. Further addresses are not limited until the bucket of
/// an older one is full again.
const MAX_ADDRESSES: usize = 4_096;

/// Token buckets, without locks and clocks. A full bucket takes no memory.
#[derive(Debug)]
pub(crate) struct AddressBuckets {
    /// The time in which an empty bucket becomes full.
    burst: Duration,
    /// The longest time in which a bucket becomes full: more than `burst` if one can be in debt.
    longest: Duration,
    /// When the bucket of an address will be full again.
    full_at: HashMap<IpAddr, Instant>,
}

impl AddressBuckets {
    /// Buckets of as many tokens as are refilled in `burst`. More can be taken; a bucket is full again
    /// after `longest` at most.
    pub(crate) fn new(burst: Duration, longest: Duration) -> Self {
        Self { burst, longest, full_at: HashMap::new() }
    }

    /// Returns how long it takes until a token is available; zero if there is one. `interval` is the
    /// time in which one is refilled.
    pub(crate) fn wait(&self, address: IpAddr, interval: Duration, now: Instant) -> Duration {
        let full_at = self.full_at.get(&client_address(address));
        let taken = full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        (taken + interval).saturating_sub(self.burst)
    }

    /// Takes a token that is refilled in `interval`, whether or not there is one.
    pub(crate) fn take(&mut self, address: IpAddr, interval: Duration, now: Instant) {
        let address = client_address(address);
        if self.full_at.len() >= MAX_ADDRESSES && !self.full_at.contains_key(&address) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_ADDRESSES {
                return;
            }
        }
        let full_at = self.full_at.entry(address).or_insert(now);
        *full_at = ((*full_at).max(now) + interval).min(now + self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const INTERVAL: Duration = Duration::from_millis(100);

    fn buckets() -> AddressBuckets {
        AddressBuckets::new(SECOND, 3 * SECOND)
    }

    /// Takes a token whenever there is one, and returns how many.
    fn taken(buckets: &mut AddressBuckets, from: &str, attempts: usize, now: Instant) -> usize {
        let address = from.parse().unwrap();
        (0..attempts)
            .filter(|_| {
                let available = buckets.wait(address, INTERVAL, now).is_zero();
                if available {
                    buckets.take(address, INTERVAL, now);
                }
                available
            })
            .count()
    }

    #[test]
    fn an_address_has_a_burst_and_then_the_rate() {
        let (mut buckets, start) = (buckets(), Instant::now());
        assert_eq!(taken(&mut buckets, "192.0.2.1", 100, start), 10);
        assert_eq!(taken(&mut buckets, "192.0.2.2", 100, start), 10, "another address");
        assert_eq!(buckets.wait("192.0.2.1".parse().unwrap(), INTERVAL, start), INTERVAL);
        let later = start + 3 * INTERVAL;
        assert_eq!(taken(&mut buckets, "192.0.2.1", 100, later), 3);
        assert_eq!(taken(&mut buckets, "192.0.2.1", 100, later + 3_600 * SECOND), 10);
    }

    #[test]
    fn what_is_taken_beyond_the_burst_is_a_debt_that_is_bounded() {
        let (mut buckets, start) = (buckets(), Instant::now());
        let address = "192.0.2.1".parse().unwrap();
        for _ in 0..15 {
            buckets.take(address, INTERVAL, start);
        }
        assert_eq!(buckets.wait(address, INTERVAL, start), 6 * INTERVAL);
        for _ in 0..1_000 {
            buckets.take(address, INTERVAL, start);
        }
        assert_eq!(buckets.wait(address, INTERVAL, start), 2 * SECOND + INTERVAL);
    }

    #[test]
    fn a_host_cannot_avoid_the_limit_by_other_addresses_of_its_network() {
        let (mut buckets, now) = (buckets(), Instant::now());
        assert_eq!(taken(&mut buckets, "2001:db8::1", 100, now), 10);
        assert_eq!(taken(&mut buckets, "2001:db8::ffff:1", 100, now), 0);
        assert_eq!(taken(&mut buckets, "2001:db8:0:1::1", 100, now), 10, "another network");
        assert_eq!(taken(&mut buckets, "192.0.2.1", 100, now), 10);
        assert_eq!(taken(&mut buckets, "::ffff:192.0.2.1", 100, now), 0, "the same address, mapped");
    }

    #[test]
    fn the_memory_is_bounded_and_quiet_addresses_are_forgotten() {
        let (mut buckets, start) = (buckets(), Instant::now());
        for host in 0..2 * 4_096 {
            buckets.take(IpAddr::V4(host.into()), INTERVAL, start);
        }
        assert_eq!(buckets.full_at.len(), MAX_ADDRESSES);
        buckets.take(IpAddr::V4(10_000.into()), INTERVAL, start + SECOND);
        assert_eq!(buckets.full_at.len(), 1);
    }
}
