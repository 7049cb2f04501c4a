//! Typed access to a YAML or JSON document. Errors name a value by its path and say what to write; a key
//! without a value counts as absent, as in Kuma.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::keys::{Keys, unknown};
use crate::model::{Invalid, Quoted, entry, unfilled};

/// A map of the document, and its path.
#[derive(Debug, Clone)]
pub(crate) struct YamlMap<'a> {
    /// The kind of the resource.
    kind: &'static str,
    path: String,
    entries: &'a Map<String, Value>,
}

impl<'a> YamlMap<'a> {
    /// The top level of a document with a resource of this kind.
    pub(crate) fn root(kind: &'static str, entries: &'a Map<String, Value>) -> Self {
        Self { kind, path: String::new(), entries }
    }

    /// The path of a key; of the map itself if the key is empty.
    pub(crate) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Whether a key has a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A text; none if it is absent or empty.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Invalid> {
        let text = self.value(key).map(|value| text_of(&self.path(key), value)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// A text that may have placeholders and may be empty; none if it is absent.
    pub(crate) fn template(&self, key: &str) -> Result<Option<&'a str>, Invalid> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.path(key), other, "must be text: put it in quotes")),
        }
    }

    /// A port; none if it is absent or 0, as in protobuf.
    pub(crate) fn port(&self, key: &str) -> Result<Option<u16>, Invalid> {
        let rule = "must be a whole number between 1 and 65535";
        let number = self.number(key, rule)?.filter(|number| *number != 0);
        let port = |number: u64| {
            u16::try_from(number).map_err(|_| Invalid::new(self.path(key), format!("{number}: {rule}")))
        };
        number.map(port).transpose()
    }

    /// A number of at least 1; none if it is absent.
    pub(crate) fn count(&self, key: &str) -> Result<Option<u32>, Invalid> {
        let rule = "must be a whole number between 1 and 4294967295";
        let count = |number: u64| {
            let count = u32::try_from(number).ok().filter(|count| *count != 0);
            count.ok_or_else(|| Invalid::new(self.path(key), format!("{number}: {rule}")))
        };
        self.number(key, rule)?.map(count).transpose()
    }

    /// A boolean; none if it is absent.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Invalid> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong(&self.path(key), other, "must be true or false")),
        }
    }

    /// A map; none if it is absent.
    pub(crate) fn map(&self, key: &str) -> Result<Option<Self>, Invalid> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(entries)) => Ok(Some(Self { kind: self.kind, path: self.path(key), entries })),
            Some(other) => Err(wrong(&self.path(key), other, "must be a map of keys and values")),
        }
    }

    /// A list of maps; empty if it is absent.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<Self>, Invalid> {
        let items = match self.value(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => {
                return Err(wrong(&self.path(key), other, "must be a list: begin each item with '- '"));
            }
        };
        let path = self.path(key);
        let item = |(index, item): (usize, &'a Value)| {
            let path = format!("{path}[{index}]");
            match item {
                Value::Object(entries) => Ok(Self { kind: self.kind, path, entries }),
                other => Err(wrong(&path, other, "must be a map, such as {port: 8080}")),
            }
        };
        items.iter().enumerate().map(item).collect()
    }

    /// A map of texts, such as labels; empty if it is absent. A key without a value has the empty
    /// text.
    pub(crate) fn texts(&self, key: &str) -> Result<BTreeMap<String, String>, Invalid> {
        let Some(map) = self.map(key)? else { return Ok(BTreeMap::new()) };
        let text = |(name, value): (&String, &Value)| {
            let text = match value {
                Value::Null => "",
                value => text_of(&entry(&map.path, name), value)?,
            };
            Ok((name.clone(), text.to_owned()))
        };
        map.entries.iter().map(text).collect()
    }

    /// Adds a warning for each key that Kuma does not have.
    pub(crate) fn warn_unknown(&self, known: &Keys, warnings: &mut Vec<String>) {
        for key in self.unknown(known) {
            warnings.push(self.unknown_key(key, known).to_string());
        }
    }

    /// The keys that Kuma does not have.
    pub(crate) fn unknown(&self, known: &Keys) -> impl Iterator<Item = &'a str> {
        self.entries.keys().map(String::as_str).filter(|key| !known.contains(key))
    }

    /// The error or warning about a key that Kuma does not have.
    pub(crate) fn unknown_key(&self, key: &str, known: &Keys) -> Invalid {
        Invalid::new(self.path(key), unknown(self.kind, key, known))
    }

    fn number(&self, key: &str, rule: &str) -> Result<Option<u64>, Invalid> {
        let path = self.path(key);
        let number = match self.value(key) {
            None => return Ok(None),
            // Kuma's JSON has numbers as texts as well.
            Some(Value::String(text)) => match unfilled(text) {
                Some(problem) => return Err(Invalid::new(path, problem)),
                None => text.parse().ok(),
            },
            Some(value) => value.as_u64(),
        };
        let value = || self.value(key).unwrap_or(&Value::Null);
        number.map(Some).ok_or_else(|| wrong(&path, value(), rule))
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.entries.get(key).filter(|value| !value.is_null())
    }
}

/// Appends a key to a path. A key with unusual characters is quoted.
fn join(path: &str, key: &str) -> String {
    /// Longer than any key of Kuma.
    const MAX_KEY: usize = 63;
    let is_usual =
        key.len() <= MAX_KEY && key.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
    match (path, key) {
        (path, "") => path.to_owned(),
        ("", key) if is_usual => key.to_owned(),
        (path, key) if is_usual => format!("{path}.{key}"),
        (path, key) => entry(path, key),
    }
}

fn text_of<'a>(path: &str, value: &'a Value) -> Result<&'a str, Invalid> {
    match value {
        Value::String(text) => match unfilled(text) {
            Some(problem) => Err(Invalid::new(path, problem)),
            None => Ok(text),
        },
        Value::Number(_) | Value::Bool(_) => Err(wrong(path, value, "must be text: put it in quotes")),
        // What YAML makes of an unquoted `{{ name }}`.
        Value::Object(_) => Err(wrong(path, value, "must be text; fill in a placeholder such as {{ name }}")),
        other => Err(wrong(path, other, "must be text")),
    }
}

/// An error about a value of the wrong type.
fn wrong(path: &str, value: &Value, rule: &str) -> Invalid {
    let value = match value {
        Value::Null => "it is empty".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
        Value::String(text) => Quoted(text).to_string(),
        scalar => scalar.to_string(),
    };
    Invalid::new(path, format!("{value}: {rule}"))
}
