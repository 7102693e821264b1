//! Tables in text. The programs share it.

/// Where the cells of a column stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(dead_code, reason = "each program has one kind of table")]
pub(crate) enum Align {
    /// All to the left.
    Left,
    /// Those of the first column to the left, all others to the right.
    FiguresRight,
}

/// Columns side by side, with a line below the first row.
pub(crate) fn aligned(rows: &[Vec<String>], align: Align) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            let gap = if column == 0 { "" } else { "  " };
            line += &match (column, align) {
                (0, _) | (_, Align::Left) => format!("{gap}{cell:<width$}"),
                (_, Align::FiguresRight) => format!("{gap}{cell:>width$}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
        if number == 0 {
            text += &"─".repeat(line.chars().count());
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 2]| cells.map(ToOwned::to_owned).to_vec();
        let rows = [row(["name", "n"]), row(["상품", "12"])];
        assert_eq!(
            aligned(&rows, Align::Left),
            "name  n\n────────\n상품    12\n"
        );
        assert_eq!(
            aligned(&rows, Align::FiguresRight),
            "name   n\n────────\n상품    12\n"
        );
    }
}
