//! Label selectors in Kubernetes' syntax.

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::label::check_key;

/// Maximum length of a selector in bytes: about a hundred requirements.
pub const MAX_SELECTOR_BYTES: usize = 4096;

/// A label selector: comma-separated requirements, all of which must hold. They are `k=v`,
/// `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, `k` (exists) and `!k` (does not exist). As in
/// Kubernetes, `k!=v` and `notin` also hold if `k` is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
}

impl LabelSelector {
    /// Whether an object's labels satisfy every requirement. `label` returns the value of a key.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        })
    }
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(format!("{} bytes: at most {MAX_SELECTOR_BYTES} are read", text.len()));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        split_outside_parentheses(text)?
            .into_iter()
            .map(Requirement::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Splits at the commas between requirements, not at those within a set of values.
fn split_outside_parentheses(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match (c, inside) {
            ('(', false) => inside = true,
            (')', true) => inside = false,
            ('(', true) | (')', false) => return Err(format!("unexpected {c:?} at byte {at}")),
            (',', false) => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("a '(' is never closed".into());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

impl Requirement {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("a requirement is empty: remove the extra comma".into());
        }
        if let Some(key) = text.strip_prefix('!') {
            return Ok(Self::Absent(parse_key(key)?));
        }
        if let Some((head, values)) = text.split_once('(') {
            let values =
                values.strip_suffix(')').ok_or_else(|| format!("unexpected text after ')' in {text:?}"))?;
            let mut words = head.split_whitespace();
            return match (words.next(), words.next(), words.next()) {
                (Some(key), Some("in"), None) => Ok(Self::In(parse_key(key)?, parse_values(values)?)),
                (Some(key), Some("notin"), None) => Ok(Self::NotIn(parse_key(key)?, parse_values(values)?)),
                _ => Err(format!("{text:?}: expected `key in (a,b)` or `key notin (a,b)`")),
            };
        }
        let Some(at) = text.find(['=', '!', '<', '>']) else {
            return Ok(Self::Exists(parse_key(text)?));
        };
        let (key, rest) = text.split_at(at);
        let key = parse_key(key)?;
        if let Some(value) = rest.strip_prefix("!=") {
            Ok(Self::NotIn(key, parse_values(value)?))
        } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
            Ok(Self::In(key, parse_values(value)?))
        } else {
            Err(format!("{text:?}: unknown operator; use =, !=, in, notin, or a bare or negated key"))
        }
    }
}

fn parse_key(text: &str) -> Result<String, String> {
    let key = text.trim();
    check_key(key).map_err(|problem| format!("key {key:?}: {problem}"))?;
    Ok(key.to_owned())
}

/// Parses one value or the comma-separated values of a set; a value may be empty.
fn parse_values(text: &str) -> Result<BTreeSet<String>, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.split(',')
        .map(str::trim)
        .map(|value| match value.chars().find(|c| !allowed(*c)) {
            None => Ok(value.to_owned()),
            Some(c) => Err(format!("value {value:?} may not contain {c:?}")),
        })
        .collect()
}

/// Prints a canonical text: equal selectors print the same.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) => write!(f, "{key} in ({})", set(values))?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", set(values))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::Absent(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let selector: LabelSelector = selector.parse().unwrap();
        selector.matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
    }

    #[test]
    fn operators_match_as_in_kubernetes() {
        let labels = [("app", "web"), ("kuma.io/mesh", "default"), ("empty", "")];
        for yes in [
            "",
            " ",
            "app=web",
            "app==web",
            "app = web , kuma.io/mesh=default",
            "app!=api",
            "absent!=x",
            "app in (api, web)",
            "app in(web)",
            "app notin (api)",
            "absent notin (x)",
            "app",
            "!absent",
            "empty=",
            "app in (web),kuma.io/mesh in (a,default),!other",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in [
            "app=api",
            "app!=web",
            "absent=x",
            "absent in (x)",
            "app notin (web,x)",
            "absent",
            "!app",
            "app,!app",
            "empty!=",
        ] {
            assert!(!matches(no, &labels), "{no}");
        }
    }

    #[test]
    fn a_malformed_selector_is_rejected_with_a_reason() {
        for (bad, reason) in [
            ("app=web,", "empty"),
            (",", "empty"),
            ("app in (a", "never closed"),
            ("app in a)", "unexpected ')'"),
            ("app in ((a))", "unexpected '('"),
            ("app within (a)", "expected `key in (a,b)`"),
            ("app in (a) b", "unexpected text"),
            ("app>1", "unknown operator"),
            ("app~web", "key \"app~web\""),
            ("=web", "key \"\""),
            ("!", "key \"\""),
            ("app=a b", "may not contain ' '"),
            ("app=a=b", "may not contain '='"),
            ("app=ä", "may not contain"),
        ] {
            let error = bad.parse::<LabelSelector>().unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        assert!("a".repeat(MAX_SELECTOR_BYTES + 1).parse::<LabelSelector>().unwrap_err().contains("at most"));
    }

    #[test]
    fn the_canonical_text_parses_to_the_same_selector() {
        for text in ["a=b", "a!=b", "x/a in (c,b)", "a notin (b)", "a", "!a", "a=b,!c,d in (e,f)", "a="] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.to_string().parse::<LabelSelector>().unwrap(), selector, "{text}");
        }
    }
}
