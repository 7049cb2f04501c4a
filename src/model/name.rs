//! Validated names.
//!
//! The rules are those of Kubernetes' apimachinery (RFC 1123 and RFC 1035), because Kuma's
//! resources have the same names on Kubernetes and elsewhere.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Invalid, placeholder::unfilled, shared::same};

/// The mesh of a Pod that names none, as in Kuma. The webhook and the agent both use it and must
/// agree.
pub const DEFAULT_MESH: &str = "default";
/// The namespace of a resource that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

const DNS_1123_LABEL: &str =
    "a valid DNS-1123 label (at most 63 characters, matching regex [a-z0-9]([-a-z0-9]*[a-z0-9])?)";
const DNS_1123_SUBDOMAIN: &str =
    "a valid DNS-1123 subdomain (at most 253 characters: DNS-1123 labels joined by dots)";
const DNS_1035_LABEL: &str =
    "a valid DNS-1035 label (at most 63 characters, matching regex [a-z]([-a-z0-9]*[a-z0-9])?)";

fn is_dns_1123_label(text: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    bytes.len() <= 63
        && alphanumeric(first)
        && alphanumeric(last)
        && bytes.iter().all(|&c| alphanumeric(c) || c == b'-')
}

fn is_dns_1035_label(text: &str) -> bool {
    is_dns_1123_label(text) && text.as_bytes()[0].is_ascii_lowercase()
}

pub(super) fn is_dns_1123_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_1123_label)
}

fn check(field: &str, text: &str, holds: impl Fn(&str) -> bool, rule: &str) -> Result<Arc<str>, Invalid> {
    if holds(text) {
        Ok(text.into())
    } else if text.is_empty() {
        Err(Invalid::new(field, format!("is required and must be {rule}")))
    } else {
        let problem = unfilled(text).unwrap_or_else(|| format!("{}: must be {rule}", Quoted(text)));
        Err(Invalid::new(field, problem))
    }
}

/// Displays untrusted text in an error: quoted, escaped and truncated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Characters before truncation: the longest valid name.
        const MAX_CHARS: usize = 253;
        match self.0.char_indices().nth(MAX_CHARS) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
        }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                same(&self.0, &other.0)
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// Name of a mesh: a DNS-1123 label.
    MeshName
);
name!(
    /// Name of a namespace: a DNS-1123 label.
    Namespace
);
name!(
    /// Name of a zone: a DNS-1123 label.
    ZoneName
);
name!(
    /// Name of a dataplane: a DNS-1123 subdomain.
    DataplaneName
);
name!(
    /// Name of a workload: a DNS-1035 label on Universal, a DNS-1123 subdomain
    /// on Kubernetes.
    WorkloadName
);

name!(
    /// Name of a resource that an operator writes, such as a `MeshIdentity`: a DNS-1123 subdomain.
    ResourceName
);

name!(
    /// Name of a Kubernetes API group: a DNS-1123 subdomain.
    ApiGroup
);

impl ApiGroup {
    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        check(field, text, is_dns_1123_subdomain, DNS_1123_SUBDOMAIN).map(Self)
    }
}

impl Default for ApiGroup {
    /// The group of Kuma's resources, `kuma.io`.
    fn default() -> Self {
        Self("kuma.io".into())
    }
}

impl std::str::FromStr for ApiGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse("", text).map_err(|invalid| invalid.problem)
    }
}

impl MeshName {
    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        check(field, text, is_dns_1123_label, DNS_1123_LABEL).map(Self)
    }
}

impl Namespace {
    /// Parses the value of `field`; empty means [`DEFAULT_NAMESPACE`].
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let text = if text.is_empty() { DEFAULT_NAMESPACE } else { text };
        check(field, text, is_dns_1123_label, DNS_1123_LABEL).map(Self)
    }
}

impl Default for Namespace {
    /// [`DEFAULT_NAMESPACE`].
    fn default() -> Self {
        Self(DEFAULT_NAMESPACE.into())
    }
}

impl ZoneName {
    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        check(field, text, is_dns_1123_label, DNS_1123_LABEL).map(Self)
    }
}

impl DataplaneName {
    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        check(field, text, is_dns_1123_subdomain, DNS_1123_SUBDOMAIN).map(Self)
    }
}

impl ResourceName {
    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        check(field, text, is_dns_1123_subdomain, DNS_1123_SUBDOMAIN).map(Self)
    }
}

impl WorkloadName {
    /// Parses the value of `field` by the rule for Universal, which Kuma's API server applies to
    /// the label `kuma.io/workload`.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse_universal(field: &str, text: &str) -> Result<Self, Invalid> {
        check(field, text, is_dns_1035_label, DNS_1035_LABEL).map(Self)
    }

    /// Parses the value of `field` by the rule for Kubernetes, where a `ServiceAccount` may name
    /// a workload.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub fn parse_kubernetes(field: &str, text: &str) -> Result<Self, Invalid> {
        check(field, text, is_dns_1123_subdomain, DNS_1123_SUBDOMAIN).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn universal_workload_names_are_dns_1035_labels() {
        for good in ["a", "demo-workload", "a1", &"a".repeat(63)] {
            assert_eq!(WorkloadName::parse_universal("f", good).unwrap().as_str(), good);
        }
        for bad in [
            "MyWorkload",
            "1abc",
            "trailing-",
            "-leading",
            "with.dot",
            "under_score",
            "ä",
            "a b",
            &"a".repeat(64),
        ] {
            let error =
                WorkloadName::parse_universal("labels[\"kuma.io/workload\"]", bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
            assert!(error.starts_with("labels[\"kuma.io/workload\"]: "), "{error}");
            assert!(error.contains("DNS-1035"), "{error}");
        }
    }

    #[test]
    fn kubernetes_workload_names_are_subdomains() {
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        for good in ["1abc", "a.b", longest.as_str()] {
            assert!(WorkloadName::parse_kubernetes("f", good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a..b", "A", &format!("{longest}d"), &"a".repeat(64)] {
            assert!(WorkloadName::parse_kubernetes("f", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_namespace_is_the_default_and_an_empty_mesh_is_missing() {
        assert_eq!(Namespace::parse("namespace", "").unwrap().as_str(), "default");
        let error = MeshName::parse("mesh", "").unwrap_err().to_string();
        assert!(error.starts_with("mesh: is required"), "{error}");
    }

    #[test]
    fn a_long_value_is_cut_and_escaped_in_the_message() {
        let error = MeshName::parse("mesh", &"\u{1b}[31m".repeat(10_000)).unwrap_err().to_string();
        assert!(error.len() < 2_500, "{}", error.len());
        assert!(!error.contains('\u{1b}'));
    }
}
