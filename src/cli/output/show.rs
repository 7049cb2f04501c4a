//! Printing resources of any kind in any format.

use std::{io, marker::PhantomData, time::SystemTime};

use serde::Serialize;

use super::{
    ChangeType, Format,
    document::{List, document, watch_event},
    table::Table,
};
use crate::cli::Terminal;

/// A kind of resource that can be shown.
pub(crate) trait Show {
    /// What several are called.
    const PLURAL: &'static str;
    /// All columns.
    const HEADER: &'static [&'static str];
    /// How many of the columns a table has that is not wide.
    const NARROW: usize;

    /// The cells for all columns.
    fn row(&self, now: SystemTime) -> Vec<String>;

    /// The cells for all columns, when it is gone.
    fn deleted_row(&self, now: SystemTime) -> Vec<String> {
        self.row(now)
    }

    /// The resource as a document has it.
    fn resource(&self) -> impl Serialize;
}

/// Prints what a listing found. That nothing was found is no error; `place` says
/// where.
pub(crate) fn print_list<T: Show>(
    items: &[T],
    format: Format,
    place: &str,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    if !format.is_table() {
        let resources = items.iter().map(Show::resource).collect();
        return terminal.print(&document(format, &List::new(resources)));
    }
    if items.is_empty() {
        return remark_none::<T>(place, terminal);
    }
    let now = SystemTime::now();
    terminal.print(&new_table::<T>(format).rows(items.iter().map(|item| cells::<T>(item.row(now), format))))
}

/// Prints the one resource that was named.
pub(crate) fn print_one<T: Show>(item: &T, format: Format, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if format.is_table() {
        print_list(std::slice::from_ref(item), format, "", terminal)
    } else {
        terminal.print(&document(format, &item.resource()))
    }
}

/// The output of a watch: one table, or one document per change.
pub(crate) struct Watched<T> {
    format: Format,
    table: Table,
    place: String,
    started: bool,
    kind: PhantomData<fn(T)>,
}

impl<T: Show> Watched<T> {
    /// A watch that has shown nothing yet.
    pub(crate) fn new(format: Format, place: String) -> Self {
        Self { format, table: new_table::<T>(format), place, started: false, kind: PhantomData }
    }

    /// Prints changes that belong together; says so if the first are none.
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
            return if first { remark_none::<T>(&self.place, terminal) } else { Ok(()) };
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

fn remark_none<T: Show>(place: &str, terminal: &mut Terminal<'_>) -> io::Result<()> {
    terminal.remark(format_args!("No {} found{place}.", T::PLURAL))
}

fn columns<T: Show>(format: Format) -> usize {
    if format == Format::Wide { T::HEADER.len() } else { T::NARROW }
}

fn new_table<T: Show>(format: Format) -> Table {
    Table::new(&T::HEADER[..columns::<T>(format)])
}

fn cells<T: Show>(mut row: Vec<String>, format: Format) -> Vec<String> {
    row.truncate(columns::<T>(format));
    row
}
