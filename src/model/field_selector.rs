//! Field selectors in Kubernetes' syntax.

use std::fmt;

use super::MAX_SELECTOR_BYTES;

/// A field selector: comma-separated requirements `name=value`, `name==value` and
/// `name!=value`, all of which must hold. In a value, `\` escapes a comma, an equals sign and
/// itself. Each resource supports its own set of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Requirement {
    field: &'static str,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Parses a selector of a resource with these fields.
    ///
    /// # Errors
    ///
    /// If the text is longer than [`MAX_SELECTOR_BYTES`], malformed, or names another field.
    pub fn parse(text: &str, fields: &[&'static str]) -> Result<Self, String> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(format!("{} bytes: at most {MAX_SELECTOR_BYTES} are read", text.len()));
        }
        let parts = split(text).into_iter().filter(|part| !part.is_empty());
        parts.map(|part| Requirement::parse(part, fields)).collect::<Result<_, _>>().map(Self)
    }

    /// Adds the requirement that a field has this value.
    #[must_use]
    pub fn and(mut self, field: &'static str, value: &str) -> Self {
        self.0.push(Requirement { field, equal: true, value: value.to_owned() });
        self
    }

    /// Whether the fields that `field` looks up by name satisfy every requirement.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> &'a str) -> bool {
        self.0.iter().all(|requirement| (field(requirement.field) == requirement.value) == requirement.equal)
    }

    /// The value that a field must have; none if several values are possible.
    pub fn required(&self, field: &str) -> Option<&str> {
        let mut equal = self.0.iter().filter(|requirement| requirement.equal && requirement.field == field);
        equal.next().map(|requirement| requirement.value.as_str())
    }

    /// Whether the selector has no requirement.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Splits at the commas that no backslash escapes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Requirement {
    fn parse(text: &str, fields: &[&'static str]) -> Result<Self, String> {
        let no_operator = || format!("{text:?}: expected field=value, field==value or field!=value");
        let at = text.find(['=', '!']).ok_or_else(no_operator)?;
        let (name, rest) = text.split_at(at);
        let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
            (false, value)
        } else {
            (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')).ok_or_else(no_operator)?)
        };
        let field = fields.iter().find(|field| **field == name);
        let field = field.ok_or_else(|| {
            format!("field label not supported: {}; there are {}", name.escape_debug(), fields.join(", "))
        })?;
        Ok(Self { field, equal, value: unescape(value)? })
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let (mut value, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => value.push(c),
                _ => return Err(format!("value {text:?}: a backslash may only precede `\\`, `,` and `=`")),
            },
            '=' => return Err(format!("value {text:?}: write `\\=` for an equals sign")),
            c => value.push(c),
        }
    }
    Ok(value)
}

/// Prints a canonical text: equal selectors print the same.
impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { field, equal, value }) in self.0.iter().enumerate() {
            let (comma, operator) = (if at > 0 { "," } else { "" }, if *equal { "=" } else { "!=" });
            let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{field}{operator}{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 2] = ["metadata.name", "reason"];

    fn matches(text: &str) -> bool {
        let selector = FieldSelector::parse(text, &FIELDS).unwrap();
        selector.matches(|field| if field == "reason" { "a,b=c" } else { "web" })
    }

    #[test]
    fn operators_match_as_in_kubernetes() {
        for yes in [
            "",
            ",",
            "metadata.name=web",
            "metadata.name==web,",
            "metadata.name!=api,metadata.name=web",
            "reason=a\\,b\\=c",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in ["metadata.name=", "metadata.name!=web", "metadata.name=web,metadata.name=api", "reason=a"]
        {
            assert!(!matches(no), "{no}");
        }
        let selector = FieldSelector::default().and("metadata.name", "web");
        assert!(!selector.is_empty() && selector.matches(|_| "web") && !selector.matches(|_| "api"));
    }

    #[test]
    fn a_malformed_selector_is_rejected_with_a_reason() {
        for (bad, reason) in [
            ("status.x=1", "field label not supported: status.x; there are metadata.name, reason"),
            ("=web", "field label not supported: ;"),
            ("\u{1b}[2J=web", "field label not supported: \\u{1b}[2J;"),
            ("metadata.name", "expected field=value"),
            ("metadata.name!web", "expected field=value"),
            ("metadata.name=a=b", "write `\\=`"),
            ("metadata.name=a\\b", "a backslash may only precede"),
            ("metadata.name=a\\", "a backslash may only precede"),
        ] {
            let error = FieldSelector::parse(bad, &FIELDS).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        let long = "a".repeat(MAX_SELECTOR_BYTES + 1);
        assert!(FieldSelector::parse(&long, &FIELDS).unwrap_err().contains("at most"));
    }

    #[test]
    fn the_canonical_text_parses_to_the_same_selector() {
        for text in ["metadata.name=a", "metadata.name!=a,reason==b\\,c\\=d\\\\e"] {
            let selector = FieldSelector::parse(text, &FIELDS).unwrap();
            assert_eq!(FieldSelector::parse(&selector.to_string(), &FIELDS).unwrap(), selector, "{text}");
        }
    }
}
