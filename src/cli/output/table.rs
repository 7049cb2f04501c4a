//! Tables as kubectl's: columns apart by three spaces, no lines.

use comfy_table::{ColumnConstraint, ContentArrangement, Width, presets};

use crate::cli::terminal::visible;

/// Between columns.
const GAP: u16 = 3;

/// A table that can grow: a watch adds rows for as long as it runs, under
/// columns that keep the widths they have reached.
#[derive(Debug)]
pub(super) struct Table {
    header: Option<Vec<String>>,
    widths: Vec<u16>,
}

impl Table {
    /// A table whose first rows will be printed below this header.
    pub(super) fn new(header: &[&str]) -> Self {
        Self { header: Some(header.iter().map(ToString::to_string).collect()), widths: vec![0; header.len()] }
    }

    /// The text of more rows. Cells are made safe to print; an empty one shows
    /// as `<none>`.
    pub(super) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let shown = rows.into_iter().map(|row| row.iter().map(|cell| shown(cell)).collect());
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.add_rows(self.header.take().into_iter().chain(shown));
        let content = table.column_max_content_widths();
        for ((column, width), content) in table.column_iter_mut().zip(&mut self.widths).zip(content) {
            *width = content.max(*width);
            column
                .set_padding((0, GAP))
                .set_constraint(ColumnConstraint::Absolute(Width::Fixed(*width + GAP)));
        }
        table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

fn shown(cell: &str) -> String {
    if cell.is_empty() { "<none>".to_owned() } else { visible(cell).into_owned() }
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
        assert_eq!(table.rows([row(["\u{1b}[2J", "x\ny"])]), "A           B\n\\u{1b}[2J   x\\ny\n");
    }
}
