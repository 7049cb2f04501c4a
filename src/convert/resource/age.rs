//! Ages as kubectl writes them.

use std::time::{Duration, SystemTime};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The age of what began then.
pub fn age_of(began: SystemTime, now: SystemTime) -> String {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    age(match now.duration_since(began) {
        Ok(ago) => seconds(ago),
        Err(ahead) => seconds(ahead.duration()).saturating_neg(),
    })
}

/// How long ago something was: `45s`, `5m`, `2d3h`; two units only where the
/// first is small. By the rules of `HumanDuration` in Kubernetes' apimachinery.
pub fn age(seconds: i64) -> String {
    if seconds < -1 {
        // The server's clock may be a little ahead of ours; this is an error.
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(seconds, MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds, HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds, DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(seconds, YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

fn two(seconds: i64, unit: i64, name: &str, small_unit: i64, small_name: &str) -> String {
    match seconds % unit / small_unit {
        0 => format!("{}{name}", seconds / unit),
        rest => format!("{}{name}{rest}{small_name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_in_a_moment_is_new_and_what_begins_later_is_wrong() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for (began, expected) in [(700, "5m"), (1_001, "0s"), (1_009, "<invalid>")] {
            assert_eq!(age_of(SystemTime::UNIX_EPOCH + Duration::from_secs(began), now), expected);
        }
    }

    #[test]
    fn ages_read_as_those_of_kubectl() {
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
