//! The configuration file: YAML, flattened to keys and texts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::cli::Problems;

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
    pub(super) fn read(path: PathBuf, problems: &mut Problems) -> Self {
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        let tree = text.and_then(|text| parse(&text));
        let mut file = Self { path, values: BTreeMap::new() };
        let path = file.path.display();
        match tree {
            Ok(Value::Object(map)) => file.flatten("", map, problems),
            Ok(Value::Null) => {} // an empty file
            Ok(_) => {
                problems.note_text(format!("{path}: must be a map, with a `key: value` for each setting"));
            }
            Err(problem) => problems.note_text(format!("cannot read {path}: {problem}")),
        }
        file
    }

    fn flatten(&mut self, parent: &str, map: Map<String, Value>, problems: &mut Problems) {
        for (name, node) in map {
            let key = if parent.is_empty() { name } else { format!("{parent}.{name}") };
            match values(node) {
                Ok(values) => drop(self.values.insert(key, values)),
                Err(NoValues::Map(map)) => self.flatten(&key, map, problems),
                Err(NoValues::Problem(problem)) => {
                    problems.note_text(format!("{}: {problem}", place(&key, &self.path)));
                }
            }
        }
    }

    /// Removes, and notes, what no flag understands. `known` says of each key
    /// whether it takes a list.
    pub(super) fn keep_known(&mut self, known: &BTreeMap<String, bool>, problems: &mut Problems) {
        let Self { path, values } = self;
        values.retain(|key, values| {
            let problem = match (known.get(key), values) {
                (Some(true), _) | (Some(false), Values::One(_)) => return true,
                (Some(false), Values::List(_)) => "takes one value, not a list".to_owned(),
                (None, _) => match closest(key, known.keys()) {
                    Some(other) => format!("no flag has this key; did you mean {other}?"),
                    None => {
                        "no flag has this key; keys are the names of flags in camelCase, such as `server`"
                            .to_owned()
                    }
                },
            };
            problems.note_text(format!("{}: {problem}", place(key, path)));
            false
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
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.to_string();
        let problem = error.strip_prefix("error: ").unwrap_or(&error);
        problem.replace('\n', "\n    ")
    })
}

/// Why a node has no values.
enum NoValues {
    /// It has keys of its own.
    Map(Map<String, Value>),
    Problem(&'static str),
}

fn values(node: Value) -> Result<Values, NoValues> {
    match node {
        Value::Object(map) => Err(NoValues::Map(map)),
        Value::Null => Err(NoValues::Problem("has no value: give one, or remove the key")),
        Value::Array(items) => match items.iter().map(scalar).collect() {
            Some(items) => Ok(Values::List(items)),
            None => Err(NoValues::Problem("a list may hold only texts, numbers, true and false")),
        },
        scalar_node => Ok(Values::One([scalar(&scalar_node).unwrap_or_default()])),
    }
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
