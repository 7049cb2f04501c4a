//! Ages of resources.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// Formats the time from `since` to `now` as kubectl does; `<unknown>` without a time.
pub(super) fn age(since: Option<&Timestamp>, now: SystemTime) -> String {
    let Some(since) = since else {
        return "<unknown>".to_owned();
    };
    let now =
        now.duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    crate::convert::resource::age(now.saturating_sub(since.seconds))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ages_are_relative_to_now() {
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        for (began, expected) in [(1_999_999_700, "5m"), (2_000_000_001, "0s"), (2_000_000_009, "<invalid>")]
        {
            assert_eq!(age(Some(&Timestamp { seconds: began, nanos: 0 }), now), expected, "{began}");
        }
        assert_eq!(age(None, now), "<unknown>");
    }
}
