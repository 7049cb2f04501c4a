//! The command line of a benchmark.

use std::path::PathBuf;

use clap::Parser;

/// Arguments of a benchmark.
#[derive(Debug, Parser)]
#[command(about = "Compares two sides in alternating rounds; prints medians and their ratio")]
pub(crate) struct Args {
    /// Run only the rows whose name contains one of these.
    filter: Vec<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Run at a tiny scale, to check that the benchmark works. Its figures mean nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rewrite this benchmark's section of a file as well. Needs all of its rows.
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    pub(crate) write: Option<PathBuf>,
    /// Draw this benchmark's charts into a folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) charts: Option<PathBuf>,
    /// The role of a child process of a benchmark, as JSON.
    #[arg(long, hide = true)]
    pub(crate) role: Option<String>,
    /// Passed by `cargo bench`.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Args {
    /// Whether a row is selected.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|filter| row.contains(filter))
    }

    /// Whether any of these rows is selected.
    pub(crate) fn wants_any(&self, rows: &[&str]) -> bool {
        rows.iter().any(|row| self.wants(row))
    }
}
