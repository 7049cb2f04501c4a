//! Ages as kubectl writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How long ago something was: `45s`, `5m`, `2d3h`; two units only where the
/// first is small. By the rules of `HumanDuration` in Kubernetes' apimachinery.
pub(super) fn age(since: Option<&Timestamp>, now: SystemTime) -> String {
    let Some(since) = since else {
        return "<unknown>".to_owned();
    };
    let now =
        now.duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let seconds = now.saturating_sub(since.seconds);
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn ages_read_as_those_of_kubectl() {
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
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
            let since = Timestamp { seconds: 2_000_000_000 - seconds, nanos: 0 };
            assert_eq!(age(Some(&since), now), expected, "{seconds}");
        }
        assert_eq!(age(None, now), "<unknown>");
    }
}
