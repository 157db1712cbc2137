//! A diff in colour; what differs is found in [`agent::diff`].

pub(crate) use agent::diff::{Side, unified};

use crate::paint::Paint;

/// A diff with its lines in colour.
pub(crate) fn painted(paint: Paint, diff: &str) -> String {
    let lines = diff.split_inclusive('\n').map(|line| {
        let text = line.strip_suffix('\n').unwrap_or(line);
        let shown = match text.as_bytes() {
            [b'-', b'-', b'-', b' ', ..] | [b'+', b'+', b'+', b' ', ..] => paint.bold(text),
            [b'+', ..] => paint.green(text),
            [b'-', ..] => paint.red(text),
            [b'@', ..] => paint.cyan(text),
            _ => text.to_owned(),
        };
        if line.len() == text.len() { shown } else { shown + "\n" }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::{ColorChoice, Environment};

    fn diff(old: Option<&[u8]>, new: Option<&[u8]>) -> String {
        let side = |name, value| Side { name, value };
        unified(side("a\trevision 2", old), side("a\trevision 3", new))
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let told = diff(Some(b"a\nb\n"), Some(b"a\nc\n"));

        assert_eq!(
            painted(Paint::new(ColorChoice::Never, Environment::default(), true), &told),
            told
        );
        let colour = painted(Paint::new(ColorChoice::Always, Environment::default(), false), &told);
        assert!(colour.contains("\x1b[32m+c\x1b[0m\n"), "{colour:?}");
    }
}
