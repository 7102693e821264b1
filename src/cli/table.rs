//! Tables as text.

use clap::builder::styling::Style;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::terminal::{BOLD, DIMMED, PLAIN, Terminal};

/// A table whose first row has the headings.
pub(crate) struct Table {
    pub(crate) rows: Vec<Vec<Cell>>,
    pub(crate) align: Align,
    /// Columns that get narrower if the table is too wide, in this order, and their least widths.
    pub(crate) shrinks: &'static [(usize, usize)],
}

/// The text of a cell, in a style.
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, style: PLAIN }
    }
}

/// The alignment of cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    /// All cells to the left.
    Left,
    /// Cells of the first column to the left, others to the right.
    FiguresRight,
}

/// Spaces between columns.
const GAP: usize = 2;

impl Table {
    /// Formats the table for a terminal, with a line below the headings that is as wide as the
    /// terminal. Cells that are too long end with `…`.
    pub(crate) fn format(&self, terminal: Terminal) -> String {
        let widths = self.widths(terminal.width);
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for ((column, cell), width) in row.iter().enumerate().zip(&widths) {
                let shown = shorten(&cell.text, *width);
                // Some characters are two columns wide, and some none.
                let room = width.saturating_sub(shown.width());
                let (before, after) = match (column, self.align) {
                    (0, _) => (0, room),
                    (_, Align::Left) => (GAP, room),
                    (_, Align::FiguresRight) => (GAP + room, 0),
                };
                let style = if number == 0 { BOLD } else { cell.style };
                line.extend([
                    " ".repeat(before),
                    terminal.paint(style, &shown),
                    " ".repeat(after),
                ]);
            }
            text += line.trim_end();
            text.push('\n');
            if number == 0 {
                let rule = terminal.width.unwrap_or_else(|| total(&widths));
                text += &terminal.paint(DIMMED, &"─".repeat(rule));
                text.push('\n');
            }
        }
        text
    }

    /// Returns the widths of the columns: those of their widest cells, or less if they do not fit.
    fn widths(&self, available: Option<usize>) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(row.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.width().max(*width);
            }
        }
        let leasts = self.shrinks.iter().copied();
        // A terminal too narrow for that has its columns as narrow as necessary.
        for (column, least) in leasts.chain(self.shrinks.iter().map(|(column, _)| (*column, 1))) {
            let excess = total(&widths).saturating_sub(available.unwrap_or(usize::MAX));
            if let Some(width) = widths.get_mut(column) {
                *width = (*width).min(width.saturating_sub(excess).max(least));
            }
        }
        widths
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// Returns the beginning of a text that is too long, and `…`. It ends after a word, unless the
/// first word is too long.
fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        shown += c.width().unwrap_or(0);
        // One column is for the ellipsis.
        if shown >= width {
            break;
        }
        end = at + c.len_utf8();
    }
    let (start, rest) = text.split_at(end);
    match start.rsplit_once(' ') {
        Some((words, _)) if !rest.starts_with(' ') => format!("{words} …"),
        _ => format!("{start}…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Terminal = Terminal {
        width: None,
        has_colors: false,
    };

    fn table(rows: &[&[&str]], align: Align, shrinks: &'static [(usize, usize)]) -> Table {
        let row = |cells: &&[&str]| {
            cells
                .iter()
                .map(|cell| Cell::from(cell.to_string()))
                .collect()
        };
        Table {
            rows: rows.iter().map(row).collect(),
            align,
            shrinks,
        }
    }

    #[test]
    fn columns_fit_their_widest_cell() {
        // On a terminal the second name is as wide as the third.
        let rows: [&[&str]; 3] = [&["", "n"], &["상품", "12"], &["shop", "7"]];
        assert_eq!(
            table(&rows, Align::Left, &[]).format(FILE),
            "      n\n────────\n상품  12\nshop  7\n"
        );
        assert_eq!(
            table(&rows, Align::FiguresRight, &[]).format(FILE),
            "       n\n────────\n상품  12\nshop   7\n"
        );
    }

    #[test]
    fn columns_shrink_in_order_to_the_width_of_the_terminal() {
        let rows: [&[&str]; 2] = [&["NAME", "URLS"], &["inventory", "GET/goods GET/orders"]];
        let at = |width| {
            let terminal = Terminal {
                width: Some(width),
                ..FILE
            };
            let table = table(&rows, Align::Left, &[(1, 9), (0, 5)]);
            let text = table.format(terminal);
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {text}");
            }
            let rule = text.lines().nth(1).unwrap();
            assert_eq!(rule.width(), width);
            text.lines().last().unwrap().to_owned()
        };
        assert_eq!(at(40), "inventory  GET/goods GET/orders");
        assert_eq!(at(31), "inventory  GET/goods GET/orders");
        assert_eq!(at(30), "inventory  GET/goods …");
        assert_eq!(at(22), "inventory  GET/goods …");
        assert_eq!(at(21), "inventory  GET/goods…");
        assert_eq!(at(20), "inventory  GET/good…");
        assert_eq!(at(18), "invent…  GET/good…");
        assert_eq!(at(10), "inve…  GE…");
        assert_eq!(at(6), "in…  …");
        for width in 4..40 {
            at(width);
        }
    }

    #[test]
    fn shortens_wide_characters_and_words() {
        assert_eq!(shorten("상품상품", 8), "상품상품");
        assert_eq!(shorten("상품상품", 7), "상품상…");
        assert_eq!(shorten("상품상품", 6), "상품…");
        assert_eq!(shorten("plain (not listed)", 10), "plain …");
        assert_eq!(shorten("abc", 1), "…");
    }

    #[test]
    fn paints_headings_and_cells_without_changing_widths() {
        let mut table = table(&[&["A", "B"], &["abc", "d"]], Align::Left, &[]);
        table.rows[1][0].style = DIMMED;
        let colored = Terminal {
            width: Some(6),
            has_colors: true,
        };
        assert_eq!(
            table.format(colored),
            "\u{1b}[1mA\u{1b}[0m    \u{1b}[1mB\u{1b}[0m\n\u{1b}[2m──────\u{1b}[0m\n\
             \u{1b}[2mabc\u{1b}[0m  d\n"
        );
    }
}
