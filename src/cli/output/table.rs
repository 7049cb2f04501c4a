//! Tables as kubectl's: columns apart by three spaces, no lines.

use crate::cli::terminal::visible;

/// Between columns.
const GAP: usize = 3;

/// A table that can grow: a watch adds rows for as long as it runs, under
/// columns that keep the widths they have reached.
#[derive(Debug)]
pub(super) struct Table {
    header: Option<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    /// A table whose first rows will be printed below this header.
    pub(super) fn new(header: &[&str]) -> Self {
        Self {
            header: Some(header.iter().map(ToString::to_string).collect()),
            widths: vec![0; header.len()],
        }
    }

    /// The text of more rows. Cells are made safe to print; an empty one shows
    /// as `<none>`.
    pub(super) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let shown = rows
            .into_iter()
            .map(|row| row.iter().map(|cell| shown(cell)).collect());
        let rows: Vec<Vec<String>> = self.header.take().into_iter().chain(shown).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&self.widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + GAP));
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

fn shown(cell: &str) -> String {
    if cell.is_empty() {
        "<none>".to_owned()
    } else {
        visible(cell).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 2]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn columns_align_and_later_rows_keep_the_widths() {
        let mut table = Table::new(&["NAME", "MESH"]);
        assert_eq!(
            table.rows([row(["a-long-name", "default"]), row(["b", ""])]),
            "NAME          MESH\na-long-name   default\nb             <none>\n"
        );
        assert_eq!(table.rows([row(["c", "x"])]), "c             x\n");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        let mut table = Table::new(&["A", "B"]);
        assert_eq!(
            table.rows([row(["\u{1b}[2J", "x\ny"])]),
            "A           B\n\\u{1b}[2J   x\\ny\n"
        );
    }
}
