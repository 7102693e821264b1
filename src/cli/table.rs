//! Tables as text.

use unicode_width::UnicodeWidthStr;

/// The alignment of cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    /// All cells to the left.
    Left,
    /// Cells of the first column to the left, others to the right.
    FiguresRight,
}

/// Formats a table with a line below the first row.
pub(crate) fn aligned(rows: &[Vec<String>], align: Align) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            // Some characters are two columns wide, and some none.
            let room = " ".repeat(width(column).saturating_sub(cell.width()));
            let gap = if column == 0 { "" } else { "  " };
            line += &match (column, align) {
                (0, _) | (_, Align::Left) => format!("{gap}{cell}{room}"),
                (_, Align::FiguresRight) => format!("{gap}{room}{cell}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
        if number == 0 {
            text += &"─".repeat(line.width());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(ToOwned::to_owned).to_vec();
        // On a terminal the second name is as wide as the third.
        let rows = [row(["", "n"]), row(["상품", "12"]), row(["shop", "7"])];
        assert_eq!(
            aligned(&rows, Align::Left),
            "      n\n────────\n상품  12\nshop  7\n"
        );
        assert_eq!(
            aligned(&rows, Align::FiguresRight),
            "       n\n────────\n상품  12\nshop   7\n"
        );
    }
}
