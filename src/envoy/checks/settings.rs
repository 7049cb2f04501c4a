//! Intervals, timeouts and thresholds of the checks and reports of an Envoy.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use crate::convert;

/// How often an Envoy checks and reports. The types exclude values that Envoy misinterprets.
///
/// With the defaults a process that exits is reported within 0.5 s, and one that hangs within 1.5 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckSettings {
    /// Time from one check to the next. Default 250 ms: four times as often as Kuma's agents check, so
    /// that half of all exits are visible within 300 ms.
    pub check_interval: Interval,
    /// Longest time that a check may take. Default 1 s: an application that is slow once, for example
    /// because it collects garbage, stays ready. Envoy waits for a check before it starts the next.
    pub check_timeout: Timeout,
    /// Time from one report to the next. Default 250 ms. Envoy reports by a timer, not on a change, so
    /// this time adds to the check's interval before a change is known.
    pub report_interval: Interval,
    /// Consecutive failed checks until an inbound is not ready. Default 1: a refused connection is not a
    /// transient fault, and the server throttles a dataplane that flaps.
    pub unhealthy_threshold: NonZeroU32,
    /// Consecutive passed checks until an inbound is ready again. Default 1. The first check decides alone.
    pub healthy_threshold: NonZeroU32,
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            check_interval: const { Interval::of_millis(250) },
            check_timeout: const { Timeout::of_millis(1_000) },
            report_interval: const { Interval::of_millis(250) },
            unhealthy_threshold: NonZeroU32::MIN,
            healthy_threshold: NonZeroU32::MIN,
        }
    }
}

/// Interval of checks or reports: 50 ms to 1 h. Envoy interprets 0 as "never" or as "without pause", and
/// more than 20 reports a second have no use.
pub type Interval = BoundedDuration<50>;

/// Timeout of a check: 1 ms, the smallest that Envoy supports, to 1 h.
pub type Timeout = BoundedDuration<1>;

/// A duration of `MIN_MILLIS` milliseconds to 1 h. Results of less frequent checks would be stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoundedDuration<const MIN_MILLIS: u64>(Duration);

impl<const MIN_MILLIS: u64> BoundedDuration<MIN_MILLIS> {
    /// The shortest.
    pub const MIN: Self = Self(Duration::from_millis(MIN_MILLIS));
    /// The longest.
    pub const MAX: Self = Self(Duration::from_hours(1));

    /// A constant; a value out of range is a compile error.
    const fn of_millis(millis: u64) -> Self {
        assert!(MIN_MILLIS <= millis && millis <= 3_600_000, "the duration is out of range");
        Self(Duration::from_millis(millis))
    }

    /// Returns the duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    pub(super) fn to_proto(self) -> prost_types::Duration {
        convert::duration(self.0)
    }
}

impl<const MIN_MILLIS: u64> TryFrom<Duration> for BoundedDuration<MIN_MILLIS> {
    type Error = String;

    fn try_from(duration: Duration) -> Result<Self, String> {
        if (Self::MIN.0..=Self::MAX.0).contains(&duration) {
            Ok(Self(duration))
        } else {
            Err(format!("must be at least {MIN_MILLIS}ms and at most 1h"))
        }
    }
}

impl<const MIN_MILLIS: u64> FromStr for BoundedDuration<MIN_MILLIS> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration =
            humantime::parse_duration(text).map_err(|error| format!("{error}; write 250ms or 1s"))?;
        duration.try_into()
    }
}

impl<const MIN_MILLIS: u64> fmt::Display for BoundedDuration<MIN_MILLIS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_out_of_range_is_rejected() {
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
