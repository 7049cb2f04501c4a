//! The configuration file: YAML whose scalars become texts, by key.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::cli::Problems;

/// Least Jaro similarity (0 to 1) of a suggested key; clap uses the same.
const MIN_SIMILARITY: f64 = 0.7;

/// The values of a file by key. Keys of nested maps are joined with dots.
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
    /// Reads a file; adds what can't be read to `problems`.
    pub(super) fn read(path: PathBuf, problems: &mut Problems) -> Self {
        let text = fs::read_to_string(&path).map_err(|error| error.to_string());
        let tree = text.and_then(|text| parse(&text));
        let mut file = Self { path, values: BTreeMap::new() };
        let path = file.path.display();
        match tree {
            Ok(Value::Object(map)) => file.flatten("", map, problems),
            Ok(Value::Null) => {} // an empty file
            Ok(_) => {
                problems.note_text(format!("{path}: must be a map with a `key: value` line for each flag"));
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

    /// Removes unknown keys, and lists where one value is expected, and adds them to
    /// `problems`. `known` has each valid key and whether it takes a list.
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

    /// The values of a key; none if the file does not have it, or has an empty text.
    pub(super) fn values(&self, key: &str) -> Option<&[String]> {
        match self.values.get(key)? {
            Values::One([value]) if value.is_empty() => None,
            Values::One(value) => Some(value),
            Values::List(values) => Some(values),
        }
    }

    /// The place of a key in error messages, if the file has a value for it.
    pub(super) fn place(&self, key: &str) -> Option<String> {
        self.values(key).is_some().then(|| place(key, &self.path))
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

/// Why a node has no value of its own.
enum NoValues {
    /// It is a nested map.
    Map(Map<String, Value>),
    Problem(&'static str),
}

fn values(node: Value) -> Result<Values, NoValues> {
    match node {
        Value::Object(map) => Err(NoValues::Map(map)),
        Value::Null => Err(NoValues::Problem("has no value: set one, or remove the key")),
        Value::Array(items) => match items.iter().map(scalar).collect() {
            Some(items) => Ok(Values::List(items)),
            None => Err(NoValues::Problem("a list may only contain strings, numbers and booleans")),
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
        .filter(|(similarity, _)| *similarity > MIN_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other)
}
