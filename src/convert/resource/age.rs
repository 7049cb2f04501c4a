//! Ages in kubectl's format.

use std::time::{Duration, SystemTime};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Returns the age of an object that was created at `began`.
pub fn age_of(began: SystemTime, now: SystemTime) -> String {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    age(match now.duration_since(began) {
        Ok(ago) => seconds(ago),
        Err(ahead) => seconds(ahead.duration()).saturating_neg(),
    })
}

/// Formats an age such as `45s`, `5m` or `2d3h`, by the rules of `HumanDuration` in Kubernetes'
/// apimachinery: two units only if the number of the first is small.
pub fn age(seconds: i64) -> String {
    if seconds < -1 {
        // One second is tolerated, because the server's clock may be slightly ahead.
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two_units(seconds, MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two_units(seconds, HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two_units(seconds, DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two_units(seconds, YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two_units(seconds: i64, unit: i64, name: &str, small_unit: i64, small_name: &str) -> String {
    match seconds % unit / small_unit {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{small_name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_the_near_future_is_new_and_a_later_one_is_invalid() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (began, expected) in [(700, "5m"), (1_001, "0s"), (1_009, "<invalid>")] {
            assert_eq!(age_of(SystemTime::UNIX_EPOCH + Duration::from_secs(began), now), expected);
        }
    }

    #[test]
    fn ages_match_those_of_kubectl() {
        for (seconds, expected) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (45, "45s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (300, "5m"),
            (600, "10m"),
            (630, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR + 5 * MINUTE, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + 3 * HOUR, "2d3h"),
            (8 * DAY + 3 * HOUR, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + 4 * DAY, "2y4d"),
            (9 * YEAR + 4 * DAY, "9y"),
        ] {
            assert_eq!(age(seconds), expected, "{seconds}");
        }
    }
}
