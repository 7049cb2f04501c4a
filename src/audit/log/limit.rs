//! The rate limit of refusals in the audit log, so that a client without any right can fill neither
//! the disk nor the queue.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{access::RefusalReason, net::client_address::client_address};

/// The time for which lines are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Refusals of one address for one reason in a window.
pub(super) const MAX_PER_ADDRESS: u32 = 10;
/// Refusals of all addresses for one reason in a window. An attack by many of them writes about 60
/// lines a second, 30 kB.
pub(super) const MAX_PER_REASON: u32 = 100;
/// Addresses and reasons that are counted each; further ones are only limited in all.
const MAX_BUCKETS: usize = 256;

/// Counts the refusals of each address (or /64 network of IPv6) and reason.
#[derive(Debug, Default)]
pub(super) struct RefusalLimit {
    by_address: HashMap<(Option<IpAddr>, RefusalReason), Bucket>,
    by_reason: HashMap<RefusalReason, Bucket>,
}

/// Refusals that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    /// None if they came from several addresses.
    pub(super) address: Option<IpAddr>,
    pub(super) reason: RefusalReason,
    pub(super) suppressed: u64,
}

#[derive(Debug)]
struct Bucket {
    window_start: Instant,
    /// Lines in this window.
    lines: u32,
    /// When the first refusal was left out that no sum has, and how many there are.
    left_out: Option<(Instant, u64)>,
}

impl RefusalLimit {
    /// Whether a refusal is to be written. One that is not is in a [`Sum`] later.
    pub(super) fn admit(&mut self, peer: Option<IpAddr>, reason: RefusalReason, now: Instant) -> bool {
        let key = (peer.map(client_address), reason);
        let has_place = self.by_address.len() < MAX_BUCKETS || self.by_address.contains_key(&key);
        let own = has_place.then(|| self.by_address.entry(key).or_insert_with(|| Bucket::new(now)));
        if own.is_some_and(|own| !own.take(MAX_PER_ADDRESS, now)) {
            return false;
        }
        self.by_reason.entry(reason).or_insert_with(|| Bucket::new(now)).take(MAX_PER_REASON, now)
    }

    /// Returns the sums that are due, a window after the first refusal that was left out, and forgets
    /// the addresses that had no refusal since.
    pub(super) fn sums(&mut self, now: Instant) -> Vec<Sum> {
        let due = |since| now.saturating_duration_since(since) >= WINDOW;
        self.take_sums(due)
    }

    /// Returns all sums, because the server ends.
    pub(super) fn last_sums(&mut self) -> Vec<Sum> {
        self.take_sums(|_| true)
    }

    fn take_sums(&mut self, due: impl Fn(Instant) -> bool) -> Vec<Sum> {
        let mut sums = Vec::new();
        let mut take = |bucket: &mut Bucket, address, reason| {
            if let Some((_, suppressed)) = bucket.left_out.take_if(|(since, _)| due(*since)) {
                sums.push(Sum { address, reason, suppressed });
            }
            bucket.left_out.is_some() || !due(bucket.window_start)
        };
        self.by_address.retain(|&(address, reason), bucket| take(bucket, address, reason));
        self.by_reason.retain(|&reason, bucket| take(bucket, None, reason));
        sums
    }
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { window_start: now, lines: 0, left_out: None }
    }

    fn take(&mut self, max: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.window_start) >= WINDOW {
            (self.window_start, self.lines) = (now, 0);
        }
        if self.lines < max {
            self.lines += 1;
            return true;
        }
        self.left_out.get_or_insert((now, 0)).1 += 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: RefusalReason = RefusalReason::Mismatch;

    fn address(host: u32) -> IpAddr {
        IpAddr::V4(host.into())
    }

    /// Refuses so often, and returns how many lines are written.
    fn refuse(
        limit: &mut RefusalLimit,
        peer: impl Into<Option<IpAddr>> + Copy,
        count: u32,
        now: Instant,
    ) -> u32 {
        (0..count).map(|_| u32::from(limit.admit(peer.into(), REASON, now))).sum()
    }

    #[test]
    fn what_an_address_exceeds_is_in_a_sum_after_a_window() {
        let (mut limit, start) = (RefusalLimit::default(), Instant::now());
        assert_eq!(refuse(&mut limit, address(1), 25, start), MAX_PER_ADDRESS);
        assert_eq!(refuse(&mut limit, address(2), 3, start), 3, "another address has its own lines");
        assert!(limit.admit(Some(address(1)), RefusalReason::Expired, start), "and so has another reason");
        assert_eq!(limit.sums(start + WINDOW / 2), []);
        let sum = Sum { address: Some(address(1)), reason: REASON, suppressed: 15 };
        assert_eq!(limit.sums(start + WINDOW), [sum]);
        assert_eq!(limit.sums(start + WINDOW * 2), []);
        assert!(limit.by_address.is_empty() && limit.by_reason.is_empty(), "{limit:?}");
    }

    #[test]
    fn a_lasting_flood_has_lines_and_a_sum_in_each_window() {
        let (mut limit, start) = (RefusalLimit::default(), Instant::now());
        let mut written = 0;
        let mut suppressed = 0;
        for tenth in 0..100 {
            let now = start + WINDOW / 10 * tenth;
            written += refuse(&mut limit, address(1), 5, now);
            suppressed += limit.sums(now).iter().map(|sum| sum.suppressed).sum::<u64>();
        }
        suppressed += limit.last_sums().iter().map(|sum| sum.suppressed).sum::<u64>();
        assert_eq!(written, 10 * MAX_PER_ADDRESS);
        assert_eq!(u64::from(written) + suppressed, 500);
    }

    #[test]
    fn many_addresses_share_the_lines_of_a_reason_and_take_bounded_memory() {
        let (mut limit, start) = (RefusalLimit::default(), Instant::now());
        let written: u32 = (0..10_000).map(|host| refuse(&mut limit, address(host), 1, start)).sum();
        assert_eq!(written, MAX_PER_REASON);
        assert_eq!(limit.by_address.len(), MAX_BUCKETS);
        let all = Sum { address: None, reason: REASON, suppressed: 9_900 };
        assert_eq!(limit.last_sums(), [all]);
        assert_eq!(limit.last_sums(), []);
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_are_one() {
        let (mut limit, start) = (RefusalLimit::default(), Instant::now());
        let peer = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]);
        let written: u32 = (0..50).map(|host| refuse(&mut limit, peer(host), 1, start)).sum();
        assert_eq!(written, MAX_PER_ADDRESS);
    }
}
