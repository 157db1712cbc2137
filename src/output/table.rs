//! Rows in columns, without borders.

/// Every column but the last as wide as its widest cell.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(|cell| length(cell)).max())
        .map(Option::unwrap_or_default)
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A line as wide as a terminal, if it is one: what does not fit is cut off, with a mark.
pub(super) fn fit(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if length(line) > width => {
            let kept: String = line.chars().take(width.saturating_sub(1)).collect();
            format!("{kept}…")
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[[&str; 2]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    #[test]
    fn a_table_lines_up_and_has_no_trailing_blanks() {
        let rows = rows(&[["KEY", "SIZE"], ["a/b/c", "1"], ["d", ""]]);

        assert_eq!(table(&rows), ["KEY    SIZE", "a/b/c  1", "d"]);
    }

    #[test]
    fn what_is_wider_than_the_terminal_is_cut_with_a_mark() {
        assert_eq!(fit("a    0123456789", Some(10)), "a    0123…");
        assert_eq!(fit("a    01234", Some(10)), "a    01234");
        assert_eq!(fit("a    0123456789", None), "a    0123456789");
    }
}
