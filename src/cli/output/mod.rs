//! How answers look: as rows of a table, or as documents.

mod dataplane;
mod document;
mod event;
mod show;
mod since;
mod table;
mod workload;

use clap::ValueEnum;
use serde::Serialize;

pub(crate) use document::document;
pub(crate) use show::{Watched, print_list, print_one};
pub(crate) use workload::counts;

/// What `-o` may be.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns
    Table,
    /// More columns
    Wide,
    /// The resource as JSON
    Json,
    /// The resource as YAML
    Yaml,
}

impl Format {
    fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// What a watch says of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ChangeType {
    /// It is new, or was there when the watch began.
    Added,
    /// It is other than before.
    Modified,
    /// It is gone; this is how it was last.
    Deleted,
}
