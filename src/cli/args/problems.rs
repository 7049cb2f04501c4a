//! Reports everything that is wrong with a configuration at once.

use std::{collections::BTreeMap, fmt};

use super::Parsed;
use crate::{cli::Failure, model::Invalid};

/// Collects the problems of a configuration. A command unwraps its [`Parsed`] values with
/// it, and fails with the whole report if there are any problems.
#[derive(Debug, Default)]
#[must_use = "problems must be reported with `finish`"]
pub struct Problems {
    origins: BTreeMap<String, Origin>,
    lines: Vec<String>,
}

/// The source of a flag's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Origin {
    /// The flag, variable or key: `--grpc-addr`, `HEADCOUNT_GRPC_ADDR` or
    /// `"grpcAddr" in headcount.yaml`.
    pub(in crate::cli) place: String,
    /// A valid value: the flag's default.
    pub(in crate::cli) example: Option<String>,
}

impl Problems {
    /// Sets the sources of flag values, which later problems name. Keys are flags without
    /// dashes.
    pub(in crate::cli) fn with_origins(self, origins: BTreeMap<String, Origin>) -> Self {
        Self { origins, ..self }
    }

    /// Sets the source of the value of one flag, which later problems name.
    pub(in crate::cli) fn set_place(&mut self, name: &str, place: String) {
        self.origins.insert(name.to_owned(), Origin { place, example: None });
    }

    /// Whether the value of the flag `name`, if it has one, is from the command line and not from the
    /// environment or a file.
    pub(in crate::cli) fn is_from_flag(&self, name: &str) -> bool {
        self.origins.get(name).is_none_or(|origin| origin.place == format!("--{name}"))
    }

    /// Returns the value of the flag `name` (without dashes). If it is invalid, adds a
    /// problem and returns `None`.
    pub fn take<T>(&mut self, name: &str, parsed: Parsed<T>) -> Option<T> {
        parsed
            .into_result()
            .map_err(|(value, problem)| self.note(name, &format!("{value:?}: {problem}")))
            .ok()
    }

    /// Like [`Problems::take`], for an optional flag. `None` also means that the flag is
    /// absent; [`Problems::finish`] distinguishes the two.
    pub fn take_optional<T>(&mut self, name: &str, parsed: Option<Parsed<T>>) -> Option<T> {
        parsed.and_then(|parsed| self.take(name, parsed))
    }

    /// Like [`Problems::take`], for a value that was checked by a rule of the model.
    pub fn take_checked<T>(&mut self, name: &str, checked: Result<T, Invalid>) -> Option<T> {
        checked.map_err(|invalid| self.note(name, &invalid.problem)).ok()
    }

    /// Adds a problem with the flag `name`. `problem` begins with the value and ends with
    /// the remedy.
    pub fn note(&mut self, name: &str, problem: &str) {
        let line = match self.origins.get(name) {
            Some(Origin { place, example: Some(example) }) => {
                format!("{place}: {problem} (for example {example})")
            }
            Some(Origin { place, example: None }) => format!("{place}: {problem}"),
            None => format!("--{name}: {problem}"),
        };
        self.lines.push(line);
    }

    /// Adds a problem that belongs to no flag.
    pub fn note_text(&mut self, problem: impl Into<String>) {
        self.lines.push(problem.into());
    }

    /// The number of problems so far.
    pub(in crate::cli) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no problems so far.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Ends the checks.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] with all problems, if there are any.
    pub fn finish(self) -> Result<(), Failure> {
        if self.is_empty() { Ok(()) } else { Err(self.into()) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lines.len() {
            1 => writeln!(f, "1 problem with the configuration:")?,
            count => writeln!(f, "{count} problems with the configuration:")?,
        }
        for line in &self.lines {
            writeln!(f, "  {line}")?;
        }
        f.write_str("`headcount help COMMAND` lists every flag of a command with its environment variable.")
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Usage(problems.to_string())
    }
}
