//! What a benchmark says in the end: a table, JSON, a section of a file.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    args::Args,
    machine::Machine,
    rounds::{Figure, Series},
};

/// All figures of one benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    /// The names of subject and baseline.
    subject: String,
    baseline: String,
    machine: Machine,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(bench: &'static str, [subject, baseline]: [impl ToString; 2]) -> Self {
        Self {
            bench,
            subject: subject.to_string(),
            baseline: baseline.to_string(),
            machine: Machine::now(),
            figures: Vec::new(),
        }
    }

    /// Adds the figures of a row.
    pub(crate) fn add(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }

    /// Prints it, and writes it where the arguments say.
    pub(crate) fn publish(&self, args: &Args) -> anyhow::Result<()> {
        if self.figures.is_empty() {
            eprintln!("{}: no row has this name", self.bench);
            return Ok(());
        }
        if args.json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{}", self.markdown());
        }
        let Some(path) = &args.write else { return Ok(()) };
        rewrite(path, self.bench, &self.markdown()).with_context(|| format!("can't write {}", path.display()))
    }

    fn markdown(&self) -> String {
        let head = ["", &self.subject, &self.baseline, "ratio", "to reach", "reached"].map(str::to_owned);
        let told = self.figures.iter().filter(|figure| figure.at.is_none());
        let rows = told.map(|figure| {
            let Figure { name, unit, subject, ratio, reach, .. } = figure;
            [
                format!("{name} ({unit})"),
                cell(subject),
                figure.baseline.as_ref().map(cell).unwrap_or_default(),
                ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                reach.map(|reach| reach.bar(unit)).unwrap_or_default(),
                reach.map(|reach| reach.verdict(subject.median(), *ratio)).unwrap_or_default(),
            ]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        format!("{}\n\n{}", self.machine, table(&rows))
    }
}

/// The median, and where the rounds were.
fn cell(series: &Series) -> String {
    format!("{} ({} to {})", number(series.median()), number(series.least()), number(series.most()))
}

/// About three digits: more are noise.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Markdown that can be read as it is.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(3));
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(widths) {
            let _infallible = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if at == 0 {
            for width in widths {
                let _infallible = write!(text, "| {:-<width$} ", "");
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Replaces what is between the markers of a section.
fn rewrite(path: &Path, section: &str, text: &str) -> anyhow::Result<()> {
    let (begin, end) = (format!("<!-- {section}:begin -->"), format!("<!-- {section}:end -->"));
    let old = fs::read_to_string(path)?;
    let (before, rest) = old.split_once(&begin).with_context(|| format!("{begin} is missing"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{end} is missing"))?;
    fs::write(path, format!("{before}{begin}\n{text}{end}{after}"))?;
    Ok(())
}
