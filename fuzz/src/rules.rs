//! The rules of the protos, said a second time and in another way than
//! `headcount::model` says them. What both agree on is hardly wrong in both.

use std::collections::BTreeMap;

use headcount::model::Invalid;

/// A message goes into a header of HTTP/2, where a client takes 16 KiB of all
/// headers together. The longest has a key of 253 strange characters, each
/// escaped in ten.
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

/// Kuma's rule for keys of tags, and for values that are not empty.
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

fn is_name(text: &str, limit: usize, first_and_last: fn(char) -> bool, between: &str) -> bool {
    let inner = |c: char| first_and_last(c) || between.contains(c);
    (1..=limit).contains(&text.len())
        && text.starts_with(first_and_last)
        && text.ends_with(first_and_last)
        && text.chars().all(inner)
}

/// A refusal is fit to be sent and printed, and says which field is wrong.
#[track_caller]
pub fn assert_fit(invalid: &Invalid) {
    let message = invalid.to_string();
    assert!(message.len() <= LONGEST_MESSAGE, "{} bytes: {message:.300}", message.len());
    assert!(!message.contains(char::is_control), "a control character in {message:?}");
    assert!(!invalid.problem.is_empty(), "no problem is said with {}", invalid.field);
}

/// How messages name one entry of a map.
pub fn entry(map: &str, key: &str) -> String {
    format!("{map}[{:?}]", key.chars().take(253).collect::<String>())
}
