//! Columns as Go's `text/tabwriter` lays them out: `consul kv get -detailed` sends a value through it as it
//! is, so that tabs and line breaks in a value move what stands behind them, here as there.

/// Between a column and the next.
const PADDING: usize = 6;

/// Within a pair of these nothing ends a cell.
const ESCAPE: u8 = 0xff;

#[derive(Debug, Default, Clone)]
struct Cell {
    text: Vec<u8>,
    width: usize,
}

/// Lays out lines of cells that end with a tab.
pub(crate) fn aligned(text: &[u8]) -> Vec<u8> {
    let lines = cells(text);
    let mut out = Vec::with_capacity(text.len() + 200);
    format(&lines, 0, lines.len(), &mut Vec::new(), &mut out);
    out
}

fn cells(text: &[u8]) -> Vec<Vec<Cell>> {
    let mut lines = vec![Vec::new()];
    let mut cell = Vec::new();
    let mut escaped = false;
    let mut escapes = 0;
    for &byte in text {
        if byte == ESCAPE {
            escaped = !escaped;
            escapes += 1;
        }
        if escaped || !matches!(byte, b'\t' | 0x0b | b'\n' | 0x0c) {
            cell.push(byte);
            continue;
        }
        let text = std::mem::take(&mut cell);
        let width = runes(&text).saturating_sub(std::mem::take(&mut escapes));
        if let Some(line) = lines.last_mut() {
            line.push(Cell { text, width });
        }
        if matches!(byte, b'\n' | 0x0c) {
            lines.push(Vec::new());
        }
    }
    if let (false, Some(line)) = (cell.is_empty(), lines.last_mut()) {
        line.push(Cell { text: cell, width: 0 });
    }
    lines
}

/// How many characters there are; a byte that belongs to none is one.
fn runes(text: &[u8]) -> usize {
    let of = |chunk: std::str::Utf8Chunk<'_>| chunk.valid().chars().count() + chunk.invalid().len();
    text.utf8_chunks().map(of).sum()
}

/// Lines `from` to `to`, whose columns left of `widths` are known. A line's last cell belongs to no column.
fn format(lines: &[Vec<Cell>], from: usize, to: usize, widths: &mut Vec<usize>, out: &mut Vec<u8>) {
    let column = widths.len();
    let has = |at: usize| column + 1 < lines[at].len();
    let mut written = from;
    let mut at = from;
    while at < to {
        if !has(at) {
            at += 1;
            continue;
        }
        write(lines, written, at, widths, out);
        let begin = at;
        while at < to && has(at) {
            at += 1;
        }
        let width = (begin..at).map(|line| lines[line][column].width + PADDING).max();
        widths.push(width.unwrap_or_default());
        format(lines, begin, at, widths, out);
        widths.pop();
        written = at;
    }
    write(lines, written, to, widths, out);
}

fn write(lines: &[Vec<Cell>], from: usize, to: usize, widths: &[usize], out: &mut Vec<u8>) {
    for at in from..to {
        for (column, cell) in lines[at].iter().enumerate() {
            out.extend_from_slice(&cell.text);
            if let Some(width) = widths.get(column) {
                out.resize(out.len() + width.saturating_sub(cell.width), b' ');
            }
        }
        if at + 1 < lines.len() {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Go 1.26 lays them out.
    #[test]
    fn columns_are_where_go_puts_them() {
        for (text, laid) in [
            (
                "Flags\t7\nModifyIndex\t844\nValue\tx",
                "Flags            7\nModifyIndex      844\nValue            x",
            ),
            ("Key\ta\nValue\t", "Key      a\nValue"),
            ("Key\ta\nValue\tx\ny", "Key        a\nValue      x\ny"),
            ("Key\ta\nValue\tx\n", "Key        a\nValue      x\n"),
            (
                "Key\ta\nValue\tone\ttwo\nthree four\tfive",
                "Key             a\nValue           one      two\nthree four      five",
            ),
            ("Key\té\nValue\té\tb\n", "Key        é\nValue      é      b\n"),
            (
                "Key\ta\nValue\tx\n\nlonger than all\ty",
                "Key        a\nValue      x\n\nlonger than all      y",
            ),
        ] {
            assert_eq!(String::from_utf8(aligned(text.as_bytes())).unwrap(), laid, "{text:?}");
        }
        assert_eq!(
            aligned(b"K\ta\nV\t\xffa\tb\xff\tc"),
            b"K      a\nV      \xffa\tb\xff      c"
        );
    }
}
