//! Connections that end without a request of an authenticated caller, such as a failed or abandoned TLS
//! handshake. Each costs the server a handshake, so an address whose clients open too many of them is
//! refused before the next one.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use crate::net::address_buckets::AddressBuckets;

/// Such connections per second of one address, without a setting: far above those of health checks and
/// scanners. Their handshakes take a few percent of a core.
const DEFAULT_RATE: usize = 100;
/// Open connections of authenticated clients that raise the rate of their address by one per second.
/// They have one address because it is that of a load balancer, and a few clients behind it that fail
/// must not keep the others out.
const CONNECTIONS_PER_RATE: usize = 10;
/// The time in which an empty bucket becomes full. After a restart of the server no client is
/// authenticated yet, so the burst has to do for an address of many clients.
const BURST: Duration = Duration::from_secs(10);
/// The longest time in which a bucket becomes full. Connections are counted when they end, so many at
/// once can take more tokens than there are.
const LONGEST: Duration = Duration::from_mins(1);
/// Time between two reports about one address.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// Addresses with a report each.
const MAX_REPORTS: usize = 256;

/// Why a connection counts as unauthenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    /// It ended without a complete request.
    NoRequest,
    /// It ended, and no caller of its requests was authenticated.
    NoCaller,
    /// It was refused at once, because its address had too many of the others.
    Refused,
}

impl Unauthenticated {
    /// All kinds.
    pub(crate) const ALL: [Self; 3] = [Self::NoRequest, Self::NoCaller, Self::Refused];

    /// The name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoRequest => "no_request",
            Self::NoCaller => "no_caller",
            Self::Refused => "refused",
        }
    }
}

/// Limits the unauthenticated connections of each address.
pub(super) struct UnauthenticatedLimit {
    /// None: [`DEFAULT_RATE`] for each address but those of this machine, whose clients all have the
    /// same one.
    rate: Option<usize>,
    buckets: AddressBuckets,
    /// Open connections of authenticated clients.
    authenticated: HashMap<IpAddr, usize>,
    reports: HashMap<IpAddr, Report>,
    on_unauthenticated: OnUnauthenticated,
}

/// Called for each unauthenticated connection.
pub(crate) type OnUnauthenticated = Box<dyn Fn(Unauthenticated) + Send>;

/// The connections of an address that were refused since the last report.
#[derive(Debug)]
struct Report {
    refused: u64,
    next: Instant,
}

impl UnauthenticatedLimit {
    pub(super) fn new(rate: Option<usize>, on_unauthenticated: OnUnauthenticated) -> Self {
        let buckets = AddressBuckets::new(BURST, LONGEST);
        let (authenticated, reports) = (HashMap::new(), HashMap::new());
        Self { rate, buckets, authenticated, reports, on_unauthenticated }
    }

    /// Checks whether an address may open a connection.
    ///
    /// # Errors
    ///
    /// If too many were unauthenticated. Some if that is to be reported: how many connections were
    /// refused since the last report.
    pub(super) fn check(&mut self, address: IpAddr, now: Instant) -> Result<(), Option<u64>> {
        let Some(interval) = self.interval(address) else { return Ok(()) };
        if self.buckets.wait(address, interval, now).is_zero() {
            return Ok(());
        }
        (self.on_unauthenticated)(Unauthenticated::Refused);
        if self.reports.len() >= MAX_REPORTS && !self.reports.contains_key(&address) {
            self.reports.retain(|_, report| report.next > now);
            if self.reports.len() >= MAX_REPORTS {
                return Err(None);
            }
        }
        let report = self.reports.entry(address).or_insert(Report { refused: 0, next: now });
        report.refused += 1;
        if report.next > now {
            return Err(None);
        }
        report.next = now + REPORT_INTERVAL;
        Err(Some(std::mem::take(&mut report.refused)))
    }

    /// Counts a connection that has ended unauthenticated.
    pub(super) fn record(&mut self, address: IpAddr, why: Unauthenticated, now: Instant) {
        (self.on_unauthenticated)(why);
        if let Some(interval) = self.interval(address) {
            self.buckets.take(address, interval, now);
        }
    }

    /// Counts an open connection that is authenticated.
    pub(super) fn begin_authenticated(&mut self, address: IpAddr) {
        *self.authenticated.entry(address).or_default() += 1;
    }

    /// Counts the end of a connection that was authenticated.
    pub(super) fn end_authenticated(&mut self, address: IpAddr) {
        if let Entry::Occupied(mut open) = self.authenticated.entry(address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// The time in which an address is allowed one unauthenticated connection; none without a limit.
    fn interval(&self, address: IpAddr) -> Option<Duration> {
        let rate = match self.rate {
            Some(rate) => rate.max(1),
            None if address.is_loopback() => return None,
            None => DEFAULT_RATE,
        };
        let open = self.authenticated.get(&address).copied().unwrap_or_default();
        let rate = rate.saturating_add(open / CONNECTIONS_PER_RATE);
        Some(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX))
    }
}

impl fmt::Debug for UnauthenticatedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnauthenticatedLimit").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Unauthenticated::NoRequest, *};

    const SECOND: Duration = Duration::from_secs(1);

    fn new(rate: Option<usize>) -> UnauthenticatedLimit {
        UnauthenticatedLimit::new(rate, Box::new(drop))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Opens connections one after another that end unauthenticated, and returns how many are not
    /// refused.
    fn open(limit: &mut UnauthenticatedLimit, from: &str, attempts: usize, now: Instant) -> usize {
        let address = address(from);
        (0..attempts)
            .filter(|_| {
                let admitted = limit.check(address, now).is_ok();
                if admitted {
                    limit.record(address, NoRequest, now);
                }
                admitted
            })
            .count()
    }

    #[test]
    fn an_address_has_a_burst_of_ten_seconds_and_then_the_rate() {
        let (mut limit, start) = (new(None), Instant::now());
        assert_eq!(open(&mut limit, "192.0.2.1", 5_000, start), 1_000);
        assert_eq!(open(&mut limit, "192.0.2.1", 5_000, start + SECOND), 100);
        assert_eq!(open(&mut limit, "192.0.2.2", 5_000, start + SECOND), 1_000, "another address");
    }

    #[test]
    fn connections_that_end_at_once_are_a_debt_of_less_than_a_minute() {
        let (mut limit, start) = (new(None), Instant::now());
        for _ in 0..50_000 {
            limit.record(address("192.0.2.1"), NoRequest, start);
        }
        assert!(limit.check(address("192.0.2.1"), start + 49 * SECOND).is_err());
        assert_eq!(limit.check(address("192.0.2.1"), start + 51 * SECOND), Ok(()));
    }

    #[test]
    fn clients_of_this_machine_are_limited_by_the_setting_only() {
        let now = Instant::now();
        for loopback in ["127.0.0.1", "::1"] {
            assert_eq!(open(&mut new(None), loopback, 5_000, now), 5_000);
            assert_eq!(open(&mut new(Some(7)), loopback, 5_000, now), 70);
        }
    }

    /// 10,000 agents behind one address, and some clients behind it that fail again and again.
    #[test]
    fn the_limit_of_an_address_grows_with_its_authenticated_connections() {
        let (mut limit, start) = (new(None), Instant::now());
        let balancer = address("192.0.2.1");
        assert_eq!(open(&mut limit, "192.0.2.1", 900, start), 900);
        for _ in 0..10_000 {
            assert!(limit.check(balancer, start).is_ok(), "authenticated ones take no tokens");
            limit.begin_authenticated(balancer);
        }
        assert_eq!(open(&mut limit, "192.0.2.1", 50_000, start + SECOND), 11_000 - 800 * 11);
        for _ in 0..10_000 {
            limit.end_authenticated(balancer);
        }
        assert!(limit.authenticated.is_empty());
        assert_eq!(open(&mut limit, "192.0.2.1", 50_000, start + 61 * SECOND), 1_000);
    }

    #[test]
    fn refused_connections_are_reported_at_once_and_then_in_sums() {
        let (mut limit, start) = (new(Some(1)), Instant::now());
        assert_eq!(open(&mut limit, "192.0.2.1", 10, start), 10);
        let refused = |limit: &mut UnauthenticatedLimit, now| {
            limit.record(address("192.0.2.1"), NoRequest, now);
            limit.check(address("192.0.2.1"), now)
        };
        assert_eq!(refused(&mut limit, start), Err(Some(1)));
        for _ in 0..15 {
            assert_eq!(refused(&mut limit, start + SECOND), Err(None));
        }
        assert_eq!(refused(&mut limit, start + REPORT_INTERVAL), Err(Some(16)));
        for host in 0..2 * 256 {
            let host = IpAddr::V4(host.into());
            (0..11).for_each(|_| limit.record(host, NoRequest, start));
            assert!(limit.check(host, start).is_err());
        }
        assert_eq!(limit.reports.len(), MAX_REPORTS);
    }
}
