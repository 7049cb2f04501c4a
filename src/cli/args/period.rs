//! Durations in flags.

use std::{str::FromStr, time::Duration};

/// A longer duration is a typing error; this is also far below where clocks overflow.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A duration such as `10s` or `1h30m`, of at most a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Period(Duration);

/// A [`Period`] that is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct NonZeroPeriod(Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration =
            humantime::parse_duration(text).map_err(|error| format!("{error}; write 10s or 1h30m"))?;
        if duration <= LONGEST { Ok(Self(duration)) } else { Err("must be a year or less".to_owned()) }
    }
}

impl FromStr for NonZeroPeriod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse()? {
            Period(Duration::ZERO) => Err("must be more than 0s".to_owned()),
            Period(duration) => Ok(Self(duration)),
        }
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl From<NonZeroPeriod> for Duration {
    fn from(period: NonZeroPeriod) -> Self {
        period.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_out_of_range_durations_are_rejected() {
        assert_eq!("1h30m".parse::<Period>().map(Duration::from), Ok(Duration::from_mins(90)));
        assert!("0s".parse::<Period>().is_ok());
        assert!("0s".parse::<NonZeroPeriod>().is_err());
        for invalid in ["", "10", "-1s", "10 parsecs", "99999999999h", "400days", "584554530872years"] {
            assert!(invalid.parse::<Period>().is_err(), "{invalid}");
        }
    }
}
