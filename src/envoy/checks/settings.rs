//! How often and how patiently an Envoy checks and reports.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use crate::convert;

/// How an Envoy checks and reports. None of these can be written so that it
/// misleads an Envoy.
///
/// With the defaults a process that ends is reported within 1.25 s, one that
/// hangs within 1.75 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckSettings {
    /// From one check to the next. 1 s is what Kuma's agents and Kubernetes take
    /// at their fastest, and costs an application one request a second.
    pub check_interval: Interval,
    /// For an answer. 500 ms is long on the host that the application shares,
    /// and half of the interval, so that checks do not pile up.
    pub check_timeout: Timeout,
    /// From one report to the next. An Envoy reports by a timer and not when
    /// something changes, just before the check that is due at the same time. So
    /// a quarter of a second adds no more than that to a check's second.
    pub report_interval: Interval,
    /// Failed checks until an inbound is not ready. A refused connection is no
    /// accident, and flapping is paced where it is counted: one is enough.
    pub unhealthy_threshold: NonZeroU32,
    /// Passed checks until it is ready again. The first check decides alone.
    pub healthy_threshold: NonZeroU32,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            check_interval: const { Interval::of_millis(1_000) },
            check_timeout: const { Timeout::of_millis(500) },
            report_interval: const { Interval::of_millis(250) },
            unhealthy_threshold: NonZeroU32::MIN,
            healthy_threshold: NonZeroU32::MIN,
        }
    }
}

/// Of checks or reports: at least 50 ms. An Envoy takes 0 as "never" or, what
/// is worse, as "without pause", and ten thousand of them are heard more than
/// often enough at 20 times a second.
pub type Interval = Span<50>;

/// Of a check: at least 1 ms, the smallest that an Envoy knows.
pub type Timeout = Span<1>;

/// A length of time from `LEAST` milliseconds to an hour. A proxy that is
/// checked more seldom says nothing about now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span<const LEAST: u64>(Duration);

impl<const LEAST: u64> Span<LEAST> {
    /// The least.
    pub const MIN: Self = Self(Duration::from_millis(LEAST));
    /// The greatest.
    pub const MAX: Self = Self(Duration::from_hours(1));

    /// One that is known while compiling.
    const fn of_millis(millis: u64) -> Self {
        assert!(LEAST <= millis && millis <= 3_600_000, "it has to be within its bounds");
        Self(Duration::from_millis(millis))
    }

    /// As the clock wants it.
    pub const fn get(self) -> Duration {
        self.0
    }

    pub(super) fn to_proto(self) -> prost_types::Duration {
        convert::duration(self.0)
    }
}

impl<const LEAST: u64> TryFrom<Duration> for Span<LEAST> {
    type Error = String;

    fn try_from(length: Duration) -> Result<Self, String> {
        if (Self::MIN.0..=Self::MAX.0).contains(&length) {
            Ok(Self(length))
        } else {
            Err(format!("must be at least {LEAST}ms and at most 1h"))
        }
    }
}

impl<const LEAST: u64> FromStr for Span<LEAST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let length =
            humantime::parse_duration(text).map_err(|error| format!("{error}; write 250ms or 1s"))?;
        length.try_into()
    }
}

impl<const LEAST: u64> fmt::Display for Span<LEAST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misleads_an_envoy_is_no_setting() {
        for good in ["50ms", "1s", "1h"] {
            assert_eq!(good.parse::<Interval>().unwrap().to_string(), good);
        }
        for bad in ["0s", "1ms", "49ms", "49999us", "3601s", "1y"] {
            let error = bad.parse::<Interval>().unwrap_err();
            assert_eq!(error, "must be at least 50ms and at most 1h", "{bad}");
        }
        assert_eq!("1ms".parse::<Timeout>(), Ok(Timeout::MIN));
        assert_eq!("999us".parse::<Timeout>().unwrap_err(), "must be at least 1ms and at most 1h");
        assert!("often".parse::<Timeout>().unwrap_err().ends_with("; write 250ms or 1s"));
    }
}
