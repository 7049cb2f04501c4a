//! Labels and inbound tags.

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use super::{
    Invalid,
    name::is_dns_1123_subdomain,
    placeholder::unfilled,
    shared::{share, share_all},
};

/// On a dataplane: the name of its workload.
pub const WORKLOAD_LABEL: &str = "kuma.io/workload";
/// On a dataplane: its mesh. On a Workload: the mesh that holds it.
pub const MESH_LABEL: &str = "kuma.io/mesh";
/// On a Workload: the component that creates and deletes it.
pub const MANAGED_BY_LABEL: &str = "kuma.io/managed-by";
/// On a dataplane: its zone. On a Workload: the zone of its dataplanes.
pub const ZONE_LABEL: &str = "kuma.io/zone";
/// On a dataplane or Workload: `universal` or `kubernetes`.
pub const ENVIRONMENT_LABEL: &str = "kuma.io/env";
/// On a dataplane in Kuma: its namespace.
pub const NAMESPACE_LABEL: &str = "k8s.kuma.io/namespace";
/// On a dataplane in Kuma: the `ServiceAccount` of its Pod.
pub const SERVICE_ACCOUNT_LABEL: &str = "k8s.kuma.io/service-account";

/// On a dataplane in Kuma: its name as its user knows it.
pub const DISPLAY_NAME_LABEL: &str = "kuma.io/display-name";
/// On a resource in Kuma: `zone` or `global`, where it was created.
pub const ORIGIN_LABEL: &str = "kuma.io/origin";

/// Bytes of the name part of a label's key, and of a label's value, as in Kubernetes.
const MAX_PART: usize = 63;
/// Bytes of a tag's key or value, and of the workload label's value on Kubernetes, where it
/// comes from an annotation.
const MAX_LONG: usize = 253;

/// Labels or tags, sorted by key. Keys and values are reference-counted, so that a million
/// dataplanes can share them ([`Dataplane::share`](super::Dataplane::share)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

/// The key of a label, valid by Kubernetes' rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelKey(Box<str>);

impl LabelKey {
    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check_key(text)?;
        Ok(Self(text.into()))
    }
}

impl Labels {
    /// Validates labels by Kubernetes' rules; `field` is the name for errors, `limit` the
    /// largest number of labels. Of the value of [`WORKLOAD_LABEL`] only the length is checked:
    /// its rule depends on the environment, and [`WorkloadName`](super::WorkloadName) checks it.
    ///
    /// # Errors
    ///
    /// If there are too many labels or one is invalid.
    pub fn parse(field: &str, labels: &BTreeMap<String, String>, limit: usize) -> Result<Self, Invalid> {
        Self::parse_with(field, labels, limit, check_label)
    }

    /// Validates inbound tags by Kuma's rules: letters, digits and `.-_/:`.
    ///
    /// # Errors
    ///
    /// If there are too many tags or one is invalid.
    pub fn parse_tags(field: &str, tags: &BTreeMap<String, String>, limit: usize) -> Result<Self, Invalid> {
        Self::parse_with(field, tags, limit, check_tag)
    }

    fn parse_with(
        field: &str,
        entries: &BTreeMap<String, String>,
        limit: usize,
        check: fn(&str, &str) -> Result<(), String>,
    ) -> Result<Self, Invalid> {
        if entries.len() > limit {
            let problem = format!("{} entries: at most {limit} are allowed, leave some out", entries.len());
            return Err(Invalid::new(field, problem));
        }
        for (key, value) in entries {
            check(key, value).map_err(|problem| {
                let problem = unfilled(key).or_else(|| unfilled(value)).unwrap_or(problem);
                Invalid::new(entry(field, key), problem)
            })?;
        }
        Ok(Self::from_trusted(entries.iter().map(|(k, v)| (k.as_str(), v.as_str()))))
    }

    /// Creates labels that are known to be valid.
    pub fn from_trusted<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        entries.sort();
        Self(entries.into())
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// Deduplicates memory: shares all labels with `other` if they are equal, or else each equal
    /// key and value.
    pub(super) fn share(&mut self, other: &Self) {
        share_all(&mut self.0, &other.0, |(key, value), others| {
            let Ok(at) = others.binary_search_by(|(other, _)| other.cmp(key)) else {
                return;
            };
            let (other_key, other_value) = &others[at];
            share(key, other_key);
            share(value, other_value);
        });
    }

    /// Iterates over keys and values in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (&**k, &**v))
    }
}

/// Formats an entry of a map for an error: `labels["app"]`.
pub(crate) fn entry(field: &str, key: &str) -> String {
    let key: String = key.chars().take(MAX_LONG).collect();
    format!("{field}[{key:?}]")
}

fn check_label(key: &str, value: &str) -> Result<(), String> {
    check_key(key)?;
    match key {
        WORKLOAD_LABEL => return within("value", value, MAX_LONG),
        // A ServiceAccount's name may be longer than a label's value.
        SERVICE_ACCOUNT_LABEL if is_dns_1123_subdomain(value) => return Ok(()),
        _ => {}
    }
    within("value", value, MAX_PART)?;
    if value.is_empty() || is_part(value) {
        Ok(())
    } else {
        Err(format!(
            "value {value:?} must consist of letters, digits, '-', '_' or '.' and start and end with a letter or digit"
        ))
    }
}

/// Checks a label's key by Kubernetes' rules: `[prefix/]name`.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix
        && !is_dns_1123_subdomain(prefix)
    {
        return Err(
            "the part of the key before '/' must be a DNS-1123 subdomain of at most 253 characters".into()
        );
    }
    within("name part of the key", name, MAX_PART)?;
    if is_part(name) {
        Ok(())
    } else {
        Err("the name part of the key must consist of letters, digits, '-', '_' or '.' and start and end with a letter or digit".into())
    }
}

fn check_tag(key: &str, value: &str) -> Result<(), String> {
    let allowed = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_/:".contains(&c));
    within("key", key, MAX_LONG)?;
    within("value", value, MAX_LONG)?;
    if !key.is_empty() && allowed(key) && allowed(value) {
        Ok(())
    } else {
        Err("a tag must consist of letters, digits, '.', '-', '_', '/' or ':', and its key may not be empty"
            .into())
    }
}

fn within(what: &str, text: &str, limit: usize) -> Result<(), String> {
    if text.len() <= limit {
        Ok(())
    } else {
        Err(format!("the {what} has {} characters: at most {limit} are allowed", text.len()))
    }
}

fn is_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str, value: &str) -> Result<Labels, Invalid> {
        Labels::parse("labels", &BTreeMap::from([(key.into(), value.into())]), 64)
    }

    #[test]
    fn valid_kubernetes_labels_are_accepted() {
        for (key, value) in
            [("app", "web"), ("kuma.io/service", "web_1.x"), ("a", ""), ("example.com/A_b.c", "V")]
        {
            assert_eq!(parse(key, value).unwrap().get(key), Some(value));
        }
    }

    #[test]
    fn labels_that_kubernetes_rejects_are_rejected_with_their_key() {
        let long = "x".repeat(64);
        for (key, value) in [
            ("", "v"),
            ("/a", "v"),
            ("a/", "v"),
            ("A.b/c", "v"),
            ("a", "-v"),
            ("a", "v "),
            ("a", &long),
            (&long, "v"),
            ("a/b/c", "v"),
        ] {
            let error = parse(key, value).unwrap_err();
            assert_eq!(error.field, format!("labels[{key:?}]"));
        }
    }

    #[test]
    fn the_service_account_label_may_be_a_subdomain() {
        let name = format!("{}.{}", "a".repeat(63), "b".repeat(63));
        assert!(parse(SERVICE_ACCOUNT_LABEL, &name).is_ok());
        assert!(parse(SERVICE_ACCOUNT_LABEL, &name.to_uppercase()).is_err());
        assert!(parse("app", &name).is_err());
    }

    #[test]
    fn too_many_labels_are_rejected() {
        let many: BTreeMap<_, _> = (0..65).map(|i| (format!("k{i}"), String::new())).collect();
        let error = Labels::parse("labels", &many, 64).unwrap_err().to_string();
        assert_eq!(error, "labels: 65 entries: at most 64 are allowed, leave some out");
    }

    #[test]
    fn tags_follow_kumas_wider_rule() {
        let tags = BTreeMap::from([
            ("kuma.io/service".into(), "web_default_svc_80".into()),
            ("v".into(), "a/b:c".into()),
        ]);
        assert_eq!(Labels::parse_tags("tags", &tags, 64).unwrap().get("v"), Some("a/b:c"));
        let bad = BTreeMap::from([("v".into(), "a b".into())]);
        assert!(Labels::parse_tags("tags", &bad, 64).is_err());
    }
}
