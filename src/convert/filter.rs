//! Conversion of filters and selectors.

use crate::{
    model::{FieldSelector, Filter, Invalid, LabelSelector, MeshName, Namespace, WorkloadName},
    proto,
};

/// Converts and validates a filter.
///
/// # Errors
///
/// If a name or the label selector is invalid; the error names the field, from `filter` on.
pub fn filter_from_proto(filter: &proto::WorkloadFilter) -> Result<Filter, Invalid> {
    Ok(Filter {
        mesh: optional(&filter.mesh, |text| MeshName::parse("filter.mesh", text))?,
        namespace: optional(&filter.namespace, |text| Namespace::parse("filter.namespace", text))?,
        name: optional(&filter.name, |text| WorkloadName::parse_kubernetes("filter.name", text))?,
        selector: selector_from_proto("filter.label_selector", &filter.label_selector)?,
        fields: FieldSelector::default(),
    })
}

/// Parses a label selector.
///
/// # Errors
///
/// If the selector is malformed. The error quotes the selector but is shortened: gRPC sends it as
/// a header, and clients accept 16 KiB of headers.
pub fn selector_from_proto(field: &str, selector: &str) -> Result<LabelSelector, Invalid> {
    selector.parse().map_err(|problem: String| Invalid::new(field, abridged(problem)))
}

/// Removes the middle of a long error. The problem is stated before or after the text that the
/// error quotes.
pub(crate) fn abridged(text: String) -> String {
    /// Bytes kept at each end.
    const KEPT: usize = 512;
    if text.len() <= 2 * KEPT {
        return text;
    }
    let (start, end) = (text.floor_char_boundary(KEPT), text.ceil_char_boundary(text.len() - KEPT));
    format!("{} ... {}", &text[..start], &text[end..])
}

/// Parses an optional name; empty means `None`, which matches any.
///
/// # Errors
///
/// If `parse` fails.
pub fn optional<T>(text: &str, parse: impl Fn(&str) -> Result<T, Invalid>) -> Result<Option<T>, Invalid> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_long_selector_is_shortened() {
        for (selector, reason) in [
            (format!("a={}", "\u{7f}".repeat(4_000)), "may not contain '\\u{7f}'"),
            ("\u{1}".repeat(4_000), "at most 63 are allowed"),
            (format!("{} (b)", "é".repeat(2_000)), "expected `key in (a,b)`"),
        ] {
            let error = selector_from_proto("filter.label_selector", &selector).unwrap_err();
            assert!(error.problem.len() < 1_100 && error.problem.contains(" ... "), "{error}");
            assert!(error.problem.contains(reason), "{error}");
        }
        assert_eq!(abridged("short".into()), "short");
    }
}
