//! Tables in the style of kubectl: three spaces between columns, no lines.

use comfy_table::{ColumnConstraint, ContentArrangement, Width, presets};

use crate::cli::terminal::visible;

/// Spaces between columns.
const GAP: u16 = 3;

/// A table that a watch extends. Columns keep the largest width so far.
#[derive(Debug)]
pub(super) struct Table {
    header: Option<Vec<String>>,
    widths: Vec<u16>,
}

impl Table {
    /// A table whose header is printed before the first rows.
    pub(super) fn new(header: &[&str]) -> Self {
        Self { header: Some(header.iter().map(ToString::to_string).collect()), widths: vec![0; header.len()] }
    }

    /// Formats more rows. Cells are escaped; an empty cell is printed as `<none>`.
    pub(super) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let rows = rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect());
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.add_rows(self.header.take().into_iter().chain(rows));
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

fn printable(cell: &str) -> String {
    if cell.is_empty() { "<none>".to_owned() } else { visible(cell).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 2]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn later_rows_keep_the_column_widths() {
        let mut table = Table::new(&["NAME", "MESH"]);
        assert_eq!(
            table.rows([row(["a-long-name", "default"]), row(["b", ""])]),
            "NAME          MESH\na-long-name   default\nb             <none>\n"
        );
        assert_eq!(table.rows([row(["c", "x"])]), "c             x\n");
    }

    #[test]
    fn control_characters_in_cells_are_escaped() {
        let mut table = Table::new(&["A", "B"]);
        assert_eq!(table.rows([row(["\u{1b}[2J", "x\ny"])]), "A           B\n\\u{1b}[2J   x\\ny\n");
    }
}
