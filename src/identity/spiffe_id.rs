//! SPIFFE IDs, by the SPIFFE standard ("SPIFFE-ID", section 2) with go-spiffe's messages, which Kuma's users
//! know.

use std::{fmt, sync::Arc};

/// The longest SPIFFE ID in bytes, by the standard.
const MAX_BYTES: usize = 2_048;
/// The longest trust domain in bytes, as in Kuma's `MeshTrust`. The standard has 255.
const MAX_TRUST_DOMAIN: usize = 253;

/// The name of a trust domain, such as `example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Parses a trust domain.
    ///
    /// # Errors
    ///
    /// If it is empty, has a character other than lowercase letters, digits, dots, dashes and
    /// underscores, or has more than 253 bytes.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("trust domain is missing");
        }
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        if !text.bytes().all(valid) {
            return Err(
                "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
            );
        }
        if text.len() > MAX_TRUST_DOMAIN {
            return Err("trust domain must not be longer than 253 characters");
        }
        Ok(Self(text.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SPIFFE ID of a workload, such as `spiffe://example.com/workload/web`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    /// Empty, or a slash and segments.
    path: Arc<str>,
}

impl SpiffeId {
    /// Creates the ID of a trust domain and a path, which is empty or begins with a slash.
    ///
    /// # Errors
    ///
    /// If the path is invalid, or the ID has more than 2,048 bytes.
    pub fn new(trust_domain: TrustDomain, path: &str) -> Result<Self, &'static str> {
        check_path(path)?;
        if "spiffe://".len() + trust_domain.0.len() + path.len() > MAX_BYTES {
            return Err("a SPIFFE ID must not be longer than 2048 bytes");
        }
        Ok(Self { trust_domain, path: path.into() })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Ok(());
    }
    let segments = path.strip_prefix('/').ok_or("path must have a leading slash")?;
    if segments.ends_with('/') || segments.is_empty() {
        return Err("path cannot have a trailing slash");
    }
    for segment in segments.split('/') {
        match segment {
            "" => return Err("path cannot contain empty segments"),
            "." | ".." => return Err("path cannot contain dot segments"),
            _ => {}
        }
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !segment.bytes().all(valid) {
            return Err(
                "path segment characters are limited to letters, numbers, dots, dashes, and underscores",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(trust_domain: &str, path: &str) -> Result<String, &'static str> {
        Ok(SpiffeId::new(TrustDomain::parse(trust_domain)?, path)?.to_string())
    }

    #[test]
    fn an_id_is_a_trust_domain_and_a_path() {
        for (trust_domain, path, expected) in [
            ("example.com", "/workload/web", "spiffe://example.com/workload/web"),
            ("a_b-c.d0", "", "spiffe://a_b-c.d0"),
            ("td", "/A.z/_-/...", "spiffe://td/A.z/_-/..."),
        ] {
            assert_eq!(id(trust_domain, path).unwrap(), expected);
        }
        assert!(id(&"a".repeat(253), &format!("/{}", "b".repeat(2_048 - 9 - 253 - 1))).is_ok());
    }

    #[test]
    fn each_rule_has_its_message() {
        let long = "a".repeat(254);
        for (trust_domain, path, expected) in [
            ("", "/a", "trust domain is missing"),
            ("Example.com", "/a", "trust domain characters are limited"),
            ("a/b", "/a", "trust domain characters are limited"),
            ("a:80", "/a", "trust domain characters are limited"),
            ("ä", "/a", "trust domain characters are limited"),
            (long.as_str(), "/a", "trust domain must not be longer than 253"),
            ("td", "a", "path must have a leading slash"),
            ("td", "/", "path cannot have a trailing slash"),
            ("td", "/a/", "path cannot have a trailing slash"),
            ("td", "//a", "path cannot contain empty segments"),
            ("td", "/a//b", "path cannot contain empty segments"),
            ("td", "/a/./b", "path cannot contain dot segments"),
            ("td", "/..", "path cannot contain dot segments"),
            ("td", "/a b", "path segment characters are limited"),
            ("td", "/a?b", "path segment characters are limited"),
            ("td", "/%41", "path segment characters are limited"),
            ("td", "/ä", "path segment characters are limited"),
        ] {
            let error = id(trust_domain, path).unwrap_err();
            assert!(error.starts_with(expected), "{trust_domain} {path}: {error}");
        }
        let longest = "b".repeat(2_048 - 9 - 2 - 1);
        assert!(id("td", &format!("/{longest}")).is_ok());
        assert_eq!(
            id("td", &format!("/{longest}b")).unwrap_err(),
            "a SPIFFE ID must not be longer than 2048 bytes"
        );
    }
}
