//! Prints resources of any type in any format.

use std::{io, marker::PhantomData, time::SystemTime};

use serde::Serialize;

use super::{
    ChangeType, Format,
    document::{List, document, watch_event},
    table::Table,
};
use crate::cli::Terminal;

/// A type of resource that can be printed.
pub(crate) trait Printable {
    /// Plural name of the type.
    const PLURAL: &'static str;
    /// Headings of all columns.
    const HEADER: &'static [&'static str];
    /// Number of columns of a table that is not wide.
    const NARROW: usize;

    /// One cell for each column.
    fn row(&self, now: SystemTime) -> Vec<String>;

    /// One cell for each column, for a deleted resource.
    fn deleted_row(&self, now: SystemTime) -> Vec<String> {
        self.row(now)
    }

    /// The resource in JSON and YAML.
    fn resource(&self) -> impl Serialize;
}

/// Prints a list. An empty one is not an error; `place` completes the sentence "No ... found".
pub(crate) fn print_list<T: Printable>(
    items: &[T],
    format: Format,
    place: &str,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    if !format.is_table() {
        let resources = items.iter().map(Printable::resource).collect();
        return terminal.print(&document(format, &List::new(resources)));
    }
    if items.is_empty() {
        remark_none::<T>(place, terminal);
        return Ok(());
    }
    let now = SystemTime::now();
    terminal.print(&new_table::<T>(format).rows(items.iter().map(|item| cells::<T>(item.row(now), format))))
}

/// Prints a single resource.
pub(crate) fn print_one<T: Printable>(
    item: &T,
    format: Format,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    if format.is_table() {
        print_list(std::slice::from_ref(item), format, "", terminal)
    } else {
        terminal.print(&document(format, &item.resource()))
    }
}

/// Prints the changes of a watch: as one table, or as one document per change.
pub(crate) struct WatchPrinter<T> {
    format: Format,
    table: Table,
    place: String,
    started: bool,
    kind: PhantomData<fn(T)>,
}

impl<T: Printable> WatchPrinter<T> {
    /// A printer that has printed nothing yet.
    pub(crate) fn new(format: Format, place: String) -> Self {
        Self { format, table: new_table::<T>(format), place, started: false, kind: PhantomData }
    }

    /// Prints a batch of changes. If the first batch is empty, it prints that nothing was found.
    pub(crate) fn print<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (ChangeType, &'a T)>,
        terminal: &mut Terminal<'_>,
    ) -> io::Result<()>
    where
        T: 'a,
    {
        let (format, now) = (self.format, SystemTime::now());
        let mut changes = changes.into_iter().peekable();
        let first = !std::mem::replace(&mut self.started, true);
        if changes.peek().is_none() {
            if first {
                remark_none::<T>(&self.place, terminal);
            }
            return Ok(());
        }
        let text = if format.is_table() {
            self.table.rows(changes.map(|(change, item)| match change {
                ChangeType::Deleted => cells::<T>(item.deleted_row(now), format),
                ChangeType::Added | ChangeType::Modified => cells::<T>(item.row(now), format),
            }))
        } else {
            changes.map(|(change, item)| watch_event(format, change, &item.resource())).collect()
        };
        terminal.print(&text)
    }
}

fn remark_none<T: Printable>(place: &str, terminal: &mut Terminal<'_>) {
    terminal.remark(format_args!("No {} found{place}.", T::PLURAL));
}

fn columns<T: Printable>(format: Format) -> usize {
    if format == Format::Wide { T::HEADER.len() } else { T::NARROW }
}

fn new_table<T: Printable>(format: Format) -> Table {
    Table::new(&T::HEADER[..columns::<T>(format)])
}

fn cells<T: Printable>(mut row: Vec<String>, format: Format) -> Vec<String> {
    row.truncate(columns::<T>(format));
    row
}
