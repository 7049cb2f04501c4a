//! The outcome of an admission review: allowed, allowed with a patch, or denied.

use std::iter;

use serde::Serialize;
use serde_json::Value;

/// The outcome of a review.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allow,
    /// Allowed, with these changes.
    Patch(Vec<PatchOperation>),
    Deny(Denial),
}

/// Why a request is denied.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Denial {
    code: u16,
    reason: &'static str,
    pub(super) message: String,
}

impl Denial {
    /// 403: a rule forbids it.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self { code: 403, reason: "Forbidden", message: message.into() }
    }

    /// 422: the object has an invalid value.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { code: 422, reason: "Invalid", message: message.into() }
    }

    /// 400: the request is malformed.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into() }
    }
}

/// An operation of a JSON Patch (RFC 6902).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct PatchOperation {
    op: &'static str,
    path: String,
    value: Value,
}

impl PatchOperation {
    /// Adds the member at `path`, or replaces it.
    pub(super) fn add(path: &[&str], value: impl Into<Value>) -> Self {
        Self { op: "add", path: json_pointer(path), value: value.into() }
    }
}

/// Builds a JSON Pointer (RFC 6901), in which `/` within a name is `~1`, and `~` is `~0`.
fn json_pointer(path: &[&str]) -> String {
    let escaped = path.iter().map(|name| name.replace('~', "~0").replace('/', "~1"));
    iter::once(String::new()).chain(escaped).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_json_pointers_are_escaped() {
        assert_eq!(
            json_pointer(&["metadata", "annotations", "kuma.io/workload"]),
            "/metadata/annotations/kuma.io~1workload"
        );
        assert_eq!(json_pointer(&["~1", "a~b/c"]), "/~01/a~0b~1c");
    }
}
