//! The report of a benchmark: Markdown tables or JSON, and charts.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::{
    args::Args,
    chart::Chart,
    machine::Machine,
    rounds::{Figure, Series},
};

/// All figures of one benchmark.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    machine: Machine,
    tables: Vec<Table>,
}

/// The figures of one pair of sides.
#[derive(Debug, Serialize)]
struct Table {
    subject: String,
    baseline: String,
    figures: Vec<Figure>,
}

impl Report {
    /// Creates an empty report of a section, which has these rows.
    ///
    /// # Errors
    ///
    /// If the section is to be written, and not all rows are selected.
    pub(crate) fn new(bench: &'static str, rows: &[&str], args: &Args) -> anyhow::Result<Self> {
        let whole = rows.iter().all(|row| args.wants(row));
        ensure!(
            whole || args.write.is_none(),
            "the section {bench} can be written with all of its rows only: {rows:?}"
        );
        Ok(Self { bench, machine: Machine::now(), tables: Vec::new() })
    }

    /// Adds the figures of a row with the names of its two sides. Prints them to stderr, so that they are not
    /// lost if a later row fails.
    pub(crate) fn add(&mut self, sides: [impl ToString; 2], figures: Vec<Figure>) {
        let [subject, baseline] = sides.map(|side| side.to_string());
        let mut row = Table { subject, baseline, figures };
        if let Some(table) = row.markdown() {
            eprintln!("\n{table}");
        }
        match self.tables.last_mut() {
            Some(table) if [&table.subject, &table.baseline] == [&row.subject, &row.baseline] => {
                table.figures.append(&mut row.figures);
            }
            _ => self.tables.push(row),
        }
    }

    /// Prints the report; writes the section and the charts that the arguments ask for.
    pub(crate) fn publish(&self, args: &Args, charts: &[Chart]) -> anyhow::Result<()> {
        if self.tables.is_empty() {
            eprintln!("{}: no row matches the filter", self.bench);
            return Ok(());
        }
        if args.json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{}", self.markdown());
        }
        if let Some(path) = &args.write {
            rewrite(path, self.bench, &self.markdown())
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        args.charts.as_ref().map_or(Ok(()), |folder| self.draw(folder, charts))
    }

    /// Draws the charts whose row has been run.
    fn draw(&self, folder: &Path, charts: &[Chart]) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        for chart in charts {
            let has_row = |table: &&Table| table.figures.iter().any(|figure| figure.row == chart.row);
            let Some(table) = self.tables.iter().find(has_row) else { continue };
            let path = folder.join(chart.file);
            fs::write(&path, chart.draw([&table.subject, &table.baseline], &table.figures))
                .with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(())
    }

    fn markdown(&self) -> String {
        let tables = self.tables.iter().filter_map(Table::markdown).collect::<Vec<_>>();
        format!("{}\n\n{}", self.machine, tables.join("\n"))
    }
}

impl Table {
    /// The table as Markdown; none if all its figures are points of charts.
    fn markdown(&self) -> Option<String> {
        let listed: Vec<_> = self.figures.iter().filter(|figure| figure.x.is_none()).collect();
        let head =
            ["", &self.subject, &self.baseline, "ratio", "to reach", "reached", "noise"].map(str::to_owned);
        let rows = listed.iter().map(|figure| {
            let Figure { name, unit, subject, baseline, ratio, target, noise, .. } = figure;
            let compared = baseline.as_ref().map(Series::median);
            [
                if unit.is_empty() { (*name).to_owned() } else { format!("{name} ({unit})") },
                cell(subject),
                baseline.as_ref().map(cell).unwrap_or_default(),
                ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                target.map(|target| target.text(unit)).unwrap_or_default(),
                target.map(|target| target.verdict(subject.median(), compared)).unwrap_or_default(),
                noise.to_string(),
            ]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        (!listed.is_empty()).then(|| table(&rows))
    }
}

/// The median, with the range of the rounds.
fn cell(series: &Series) -> String {
    format!("{} ({} to {})", number(series.median()), number(series.min()), number(series.max()))
}

/// The number with about three digits: more are noise.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A Markdown table with aligned columns.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3)
    });
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

/// Replaces the text between the markers of a section.
fn rewrite(path: &Path, section: &str, text: &str) -> anyhow::Result<()> {
    let (begin, end) = (format!("<!-- {section}:begin -->"), format!("<!-- {section}:end -->"));
    let old = fs::read_to_string(path)?;
    let (before, rest) = old.split_once(&begin).with_context(|| format!("{begin} is missing"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{end} is missing"))?;
    fs::write(path, format!("{before}{begin}\n{text}{end}{after}"))?;
    Ok(())
}
