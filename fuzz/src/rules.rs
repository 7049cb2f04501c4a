//! A second implementation of the validation rules in the protos, written differently from the one in
//! `headcount::model`, so that the same mistake in both is unlikely.

use std::collections::BTreeMap;

use headcount::model::Invalid;

use super::ip;

/// Longest status message, in bytes. It is sent as an HTTP/2 header, and clients accept 16 KiB of
/// headers in total. The longest one quotes a key of 253 characters, each escaped as up to ten.
pub const LONGEST_MESSAGE: usize = 4_096;

pub fn is_dns_1123_label(text: &str) -> bool {
    is_name(text, 63, |c| matches!(c, 'a'..='z' | '0'..='9'), "-")
}

pub fn is_dns_1035_label(text: &str) -> bool {
    is_dns_1123_label(text) && !text.starts_with(|c: char| c.is_ascii_digit())
}

pub fn is_dns_1123_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_1123_label)
}

pub fn is_label_key(key: &str) -> bool {
    match key.split('/').collect::<Vec<_>>()[..] {
        [name] => is_label_part(name),
        [prefix, name] => is_dns_1123_subdomain(prefix) && is_label_part(name),
        _ => false,
    }
}

pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_label_part(value)
}

fn is_label_part(part: &str) -> bool {
    is_name(part, 63, |c| c.is_ascii_alphanumeric(), "-_.")
}

/// Kuma's rule for the keys of tags, and for values that are not empty.
pub fn is_tag(text: &str) -> bool {
    let allowed = |c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' | '/' | ':');
    (1..=253).contains(&text.len()) && text.chars().all(allowed)
}

pub fn are_tags(tags: &BTreeMap<String, String>) -> bool {
    tags.len() <= 64 && tags.iter().all(|(key, value)| is_tag(key) && (value.is_empty() || is_tag(value)))
}

pub fn is_short_text(text: &str, limit: usize) -> bool {
    text.len() <= limit && !text.contains(char::is_control)
}

/// Whether a text has a placeholder of a template.
pub fn has_placeholder(text: &str) -> bool {
    let between = |open: &str, close: &str| {
        text.split_once(open)
            .is_some_and(|(_, rest)| rest.split_once(close).is_some_and(|(name, _)| !name.is_empty()))
    };
    let is_shell = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    between("{{", "}}")
        || between("${", "}")
        || between("$(", ")")
        || between("<", ">")
        || text.split_once('$').is_some_and(|(_, rest)| is_shell(rest))
}

/// Whether a text may be the address of a dataplane: empty, an IP address that means one host, or a
/// DNS name that is not a mistyped IPv4 address.
pub fn is_address(text: &str) -> bool {
    if ip::is_literal(text) {
        return text.chars().any(|c| !"0:.".contains(c));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels: Vec<_> = name.split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && !label.starts_with('-')
    };
    let last = labels.last().copied().unwrap_or_default();
    text.is_empty()
        || name.len() <= 253 && labels.iter().all(is_label) && last.contains(|c: char| !c.is_ascii_digit())
}

/// What labels of the control plane must agree with: mesh, namespace, name, zone and environment.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub mesh: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub zone: &'a str,
    pub is_kubernetes: bool,
}

/// Whether no label contradicts what the control plane would set.
pub fn owned_labels_agree(labels: &BTreeMap<String, String>, owner: Owner<'_>) -> bool {
    let agrees = |key: &str, values: &[&str]| {
        labels.get(key).is_none_or(|label| label.is_empty() || values.contains(&label.as_str()))
    };
    let Owner { mesh, namespace, name, zone, is_kubernetes } = owner;
    let short = name.strip_suffix(&format!(".{namespace}")).unwrap_or(name);
    agrees("kuma.io/mesh", &[mesh])
        && agrees("k8s.kuma.io/namespace", &[namespace])
        && agrees("kuma.io/zone", &[zone])
        && agrees("kuma.io/env", &[if is_kubernetes { "kubernetes" } else { "universal" }])
        && agrees("kuma.io/display-name", &[name, short])
        && agrees("kuma.io/origin", &["zone"])
}

fn is_name(text: &str, limit: usize, first_and_last: fn(char) -> bool, between: &str) -> bool {
    let inner = |c: char| first_and_last(c) || between.contains(c);
    (1..=limit).contains(&text.len())
        && text.starts_with(first_and_last)
        && text.ends_with(first_and_last)
        && text.chars().all(inner)
}

/// Asserts that a rejection is short enough for a header, printable, and states a problem.
#[track_caller]
pub fn assert_printable(invalid: &Invalid) {
    let message = invalid.to_string();
    assert!(message.len() <= LONGEST_MESSAGE, "{} bytes: {message:.300}", message.len());
    assert!(!message.contains(char::is_control), "a control character in {message:?}");
    assert!(!invalid.problem.is_empty(), "no problem is stated with {}", invalid.field);
}

/// How a rejection names one entry of a map.
pub fn entry(map: &str, key: &str) -> String {
    format!("{map}[{:?}]", key.chars().take(253).collect::<String>())
}
