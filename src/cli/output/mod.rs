//! Output formats: tables, JSON and YAML.

mod age;
mod dataplane;
mod document;
mod event;
mod mesh_identity;
mod print;
mod table;
mod token;
mod workload;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use document::document;
pub(crate) use print::{Printable, WatchPrinter, print_list, print_one};
pub(crate) use workload::counts;

/// Values of `--output`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table
    Table,
    /// A table with more columns
    Wide,
    /// The resources as JSON
    Json,
    /// The resources as YAML
    Yaml,
}

impl Format {
    fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// The type of a change, as in a watch event of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ChangeType {
    /// Created, or already present when the watch began.
    Added,
    /// Changed.
    Modified,
    /// Removed; the object has its last state.
    Deleted,
}
