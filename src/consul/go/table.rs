//! Columns of texts, two spaces apart, as Consul's lists have them.

/// A line for the heads and one for each row; the last column is as long as it is.
pub(crate) fn columns(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(String::as_str);
        let cells = cells.chain(heads.get(column).copied());
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let last = cells.len().saturating_sub(1);
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == last {
                (*cell).to_owned()
            } else {
                format!("{cell:width$}  ")
            }
        });
        padded.collect::<String>()
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    let lines: Vec<String> = std::iter::once(line(heads.to_vec())).chain(rows).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_as_wide_as_its_widest_cell() {
        let rows = [
            vec!["a".to_owned(), "1".to_owned(), "x".to_owned()],
            vec!["bcd".to_owned(), "".to_owned(), "y z".to_owned()],
        ];
        assert_eq!(
            columns(&["N", "Id", "Tags"], &rows),
            "N    Id  Tags\na    1   x\nbcd      y z"
        );
        assert_eq!(columns(&["N"], &[]), "N");
    }
}
