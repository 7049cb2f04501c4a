//! Everything that is wrong with a configuration, said at once.

use std::{collections::BTreeMap, fmt};

use super::Parsed;
use crate::{cli::Failure, model::Invalid};

/// Collects what is wrong with a configuration. A command takes its values out
/// of [`Parsed`] through it and goes on only when nothing was wrong.
#[derive(Debug, Default)]
#[must_use = "problems that nobody reports are silent"]
pub struct Problems {
    origins: BTreeMap<String, Origin>,
    lines: Vec<String>,
}

/// Where the value of a flag comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Origin {
    /// As the user knows it: `--grpc-addr`, `HEADCOUNT_GRPC_ADDR`, or
    /// `grpcAddr in headcount.yaml`.
    pub(in crate::cli) place: String,
    /// A value that would do: the flag's default.
    pub(in crate::cli) example: Option<String>,
}

impl Problems {
    /// From now on, says of each flag where its value comes from.
    pub(in crate::cli) fn with_origins(self, origins: BTreeMap<String, Origin>) -> Self {
        Self { origins, ..self }
    }

    /// Takes the value of the flag `name` (without dashes), or notes what is
    /// wrong with it.
    pub fn take<T>(&mut self, name: &str, parsed: Parsed<T>) -> Option<T> {
        parsed
            .into_result()
            .map_err(|(value, problem)| self.note(name, &format!("{value:?}: {problem}")))
            .ok()
    }

    /// As [`Problems::take`], for a flag that may be absent. What is wrong shows
    /// in [`Problems::finish`].
    pub fn take_optional<T>(&mut self, name: &str, parsed: Option<Parsed<T>>) -> Option<T> {
        parsed.and_then(|parsed| self.take(name, parsed))
    }

    /// Takes the value of a flag that one of the domain's rules decides.
    pub fn take_checked<T>(&mut self, name: &str, checked: Result<T, Invalid>) -> Option<T> {
        checked.map_err(|invalid| self.note(name, &invalid.problem)).ok()
    }

    /// Notes that the value of the flag `name` cannot be; `problem` begins with
    /// the value and ends with the remedy.
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

    /// Notes a problem that belongs to no flag.
    pub fn note_text(&mut self, problem: impl Into<String>) {
        self.lines.push(problem.into());
    }

    /// Whether nothing was wrong so far.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Fails with the whole report if anything was wrong.
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
