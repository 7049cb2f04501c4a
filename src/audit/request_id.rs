//! The id of a request, which the audit log has in each line about it.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header of the response to a refused request.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Headers with the id of a request: kube-apiserver's, and the one of Envoy and other proxies.
const HEADERS: [HeaderName; 2] = [HeaderName::from_static("audit-id"), X_REQUEST_ID];
/// Longest id, in bytes: that of a UUID has 36.
const MAX_BYTES: usize = 64;

/// The id of a request: what its client or a proxy gave it, or a random one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Id);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    /// 1 to 64 visible ASCII characters.
    Given(Box<str>),
    Random(u64),
}

impl RequestId {
    /// The id in the headers of a request; a random one if they have none, or one that is not 1 to
    /// 64 visible ASCII characters.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = HEADERS.iter().find_map(|name| headers.get(name)?.to_str().ok());
        let is_valid =
            |id: &&str| (1..=MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        match given.filter(is_valid) {
            Some(id) => Self(Id::Given(id.into())),
            None => Self::random(),
        }
    }

    /// A random id. It distinguishes requests in the log, and protects nothing.
    pub(super) fn random() -> Self {
        Self(Id::Random(fastrand::u64(..)))
    }

    /// Adds the id to the headers of a response, so that its client can refer to it.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.insert(X_REQUEST_ID, value);
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Given(id) => f.write_str(id),
            Id::Random(id) => write!(f, "{id:016x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> String {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        RequestId::of(&HeaderMap::from_iter([(HeaderName::from_static(name), value)])).to_string()
    }

    #[test]
    fn a_valid_id_is_kept_and_any_other_is_replaced() {
        let longest = "a".repeat(MAX_BYTES);
        for id in ["7f0c", "a-b_c:/=", &longest] {
            assert_eq!(of("x-request-id", id), id);
            assert_eq!(of("audit-id", id), id);
        }
        for id in ["", "two words", "tab\t", "é", &format!("{longest}a")] {
            let random = of("x-request-id", id);
            assert!(random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{random}");
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }

    #[test]
    fn a_response_has_the_id() {
        let mut headers = HeaderMap::new();
        RequestId(Id::Random(255)).add_to(&mut headers);
        assert_eq!(headers[X_REQUEST_ID], "00000000000000ff");
    }
}
