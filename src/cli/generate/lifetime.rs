//! How long a token or a certificate is valid.

use std::{str::FromStr, time::Duration};

use crate::authentication::token::LIFETIMES;

/// How long something is valid: whole seconds, from one second to ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime(pub(super) Duration);

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const TOO_SHORT: &str = "must be one second or more";
        if text.starts_with('-') {
            return Err(TOO_SHORT.to_owned());
        }
        let duration =
            humantime::parse_duration(text).map_err(|error| format!("{error}; write 720h or 30days"))?;
        let whole = Duration::from_secs(duration.as_secs());
        if whole.is_zero() {
            Err(TOO_SHORT.to_owned())
        } else if duration > *LIFETIMES.end() {
            Err("must be 10 years or less".to_owned())
        } else {
            Ok(Self(whole))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_a_second_to_ten_years() {
        for (text, seconds) in [("720h", 720 * 3600), ("1s", 1), ("1500ms", 1), ("3653days", 3653 * 86400)] {
            assert_eq!(text.parse(), Ok(Lifetime(Duration::from_secs(seconds))), "{text}");
        }
        for bad in ["", "0s", "0", "-1h", "999ms", "11years", "999999h", "10", "abc", "584554530872years"] {
            assert!(bad.parse::<Lifetime>().is_err(), "{bad}");
        }
    }
}
