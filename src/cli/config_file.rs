//! The configuration file: YAML, flattened to keys and texts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// How alike (0 to 1, by Jaro) a key must be to be suggested; clap has the same.
const ALIKE: f64 = 0.7;

/// The values of a file by key; those of nested maps by keys joined with dots.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    path: PathBuf,
    values: BTreeMap<String, Values>,
}

#[derive(Debug)]
enum Values {
    One([String; 1]),
    List(Vec<String>),
}

impl ConfigFile {
    /// Reads a file; what cannot be read is noted.
    pub(super) fn read(path: PathBuf, problems: &mut Vec<String>) -> Self {
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        let tree = text.and_then(|text| parse(&text));
        let mut file = Self {
            path,
            values: BTreeMap::new(),
        };
        match tree {
            Ok(tree) => file.flatten("", tree, problems),
            Err(problem) => problems.push(format!("cannot read {}: {problem}", file.path.display())),
        }
        file
    }

    fn flatten(&mut self, key: &str, node: Value, problems: &mut Vec<String>) {
        let mut note = |problem| problems.push(format!("{}: {problem}", place(key, &self.path)));
        match node {
            Value::Object(map) => {
                for (name, node) in map {
                    let key = if key.is_empty() {
                        name
                    } else {
                        format!("{key}.{name}")
                    };
                    self.flatten(&key, node, problems);
                }
            }
            Value::Null if key.is_empty() => {} // an empty file
            _ if key.is_empty() => problems.push(format!(
                "{}: must be a map, with one `key: value` for each setting",
                self.path.display()
            )),
            Value::Null => note("has no value: give one, or remove the key"),
            Value::Array(items) => match items.iter().map(scalar).collect() {
                Some(items) => drop(self.values.insert(key.to_owned(), Values::List(items))),
                None => note("a list may hold only texts, numbers, true and false"),
            },
            node => {
                let text = scalar(&node).unwrap_or_default();
                self.values.insert(key.to_owned(), Values::One([text]));
            }
        }
    }

    /// Removes, and notes, what no flag understands. `known` says of each key
    /// whether it takes a list.
    pub(super) fn keep_known(&mut self, known: &BTreeMap<String, bool>, problems: &mut Vec<String>) {
        let Self { path, values } = self;
        values.retain(|key, values| match (known.get(key), values) {
            (Some(false), Values::List(_)) => {
                problems.push(format!("{}: takes one value, not a list", place(key, path)));
                false
            }
            (Some(_), _) => true,
            (None, _) => {
                let remedy = match closest(key, known.keys()) {
                    Some(other) => format!("did you mean {other}?"),
                    None => "keys are the names of flags in camelCase, such as `server`".to_owned(),
                };
                problems.push(format!("{}: no flag has this key; {remedy}", place(key, path)));
                false
            }
        });
    }

    /// The values of a key.
    pub(super) fn values(&self, key: &str) -> Option<&[String]> {
        self.values.get(key).map(|values| match values {
            Values::One(value) => value.as_slice(),
            Values::List(values) => values,
        })
    }

    /// How to name the place of a key that this file has.
    pub(super) fn place(&self, key: &str) -> Option<String> {
        self.values.contains_key(key).then(|| place(key, &self.path))
    }
}

fn place(key: &str, path: &Path) -> String {
    format!("{key:?} in {}", path.display())
}

fn parse(text: &str) -> Result<Value, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string().replace('\n', "\n    "))
}

fn scalar(node: &Value) -> Option<String> {
    match node {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn closest<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    known
        .map(|other| (strsim::jaro(key, other), other))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}
