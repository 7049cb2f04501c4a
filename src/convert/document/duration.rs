//! Durations in documents.

use std::time::Duration;

/// Longest text. No duration of a probe needs more: `59m59.999999999s` has 16 bytes. The limit also
/// rules out an overflow of `Duration`.
const MAX_BYTES: usize = 20;

/// Parses a duration in the notation of Go (`1m30s`, `500ms`) or of protobuf's JSON (`1.5s`). Kuma
/// documents the first and accepts both.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("{} bytes: write a duration such as 10s or 500ms", text.len()));
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?}: {error}; write a duration such as 10s or 500ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_are_accepted() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1.5s", 1500),
            ("0.250s", 250),
            ("1.5m", 90_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse("250µs"), Ok(Duration::from_micros(250)));
        assert_eq!(parse("1.000000001s"), Ok(Duration::new(1, 1)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[0-9.a-zµ ]{0,24}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn an_invalid_duration_is_rejected_with_an_example() {
        for bad in ["", "10", "s", "-1s", "1x", "1.s", "18446744073709551615s1000ms"] {
            let error = parse(bad).unwrap_err();
            assert!(error.ends_with("such as 10s or 500ms"), "{bad}: {error}");
        }
    }
}
