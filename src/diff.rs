//! What differs between two values, for a person: a unified diff of text, a sentence of anything else.

use std::time::Duration;

use similar::TextDiff;

use crate::output::is_printable;
use crate::paint::Paint;

/// Looking for the shortest diff of two long, unlike texts ends here; what is found by then is longer, and right.
const PATIENCE: Duration = Duration::from_millis(500);

/// How a missing side is called, as everywhere.
const ABSENT: &str = "/dev/null";

/// One side: what it is called, and the value if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Option<&'a [u8]>,
}

/// The difference, every line with its line break; nothing if there is none.
///
/// `patch` can read it, but for one liberty: settings rarely end in a line break, so that one is missing is told
/// only where the two sides disagree about it.
pub(crate) fn unified(old: Side<'_>, new: Side<'_>) -> String {
    if old.value == new.value {
        return String::new();
    }
    let names = [old, new].map(|side| side.value.map_or(ABSENT, |_| side.name));
    let texts = [old, new].map(|side| side.value.map_or(Some(""), text));
    let head = format!("--- {}\n+++ {}\n", names[0], names[1]);
    let [Some(before), Some(after)] = texts else {
        return format!("{head}binary: {} became {}\n", size(old), size(new));
    };
    let (before, after) = whole_lines(before, after);
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(&before, &after);
    format!("{head}{}", diff.unified_diff())
}

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

fn size(side: Side<'_>) -> String {
    match side.value.map(<[u8]>::len) {
        None => "nothing".into(),
        Some(1) => "1 byte".into(),
        Some(bytes) => format!("{bytes} bytes"),
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| is_printable(text))
}

/// Both texts with a line break at the end, unless just one of them has one.
fn whole_lines(before: &str, after: &str) -> (String, String) {
    let open = |text: &str| !text.is_empty() && !text.ends_with('\n');
    let agree = (open(before) || before.is_empty()) && (open(after) || after.is_empty());
    let close = |text: &str| match agree && open(text) {
        true => format!("{text}\n"),
        false => text.to_owned(),
    };
    (close(before), close(after))
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
    fn text_is_told_line_by_line() {
        assert_eq!(
            diff(Some(b"80"), Some(b"81")),
            "--- a\trevision 2\n+++ a\trevision 3\n@@ -1 +1 @@\n-80\n+81\n"
        );
        assert_eq!(
            diff(None, Some(b"81")),
            "--- /dev/null\n+++ a\trevision 3\n@@ -0,0 +1 @@\n+81\n"
        );
        assert_eq!(diff(Some(b"x"), Some(b"x")), "");
    }

    #[test]
    fn a_missing_line_break_is_told_where_the_sides_disagree() {
        assert!(diff(Some(b"a"), Some(b"a\n")).contains("\\ No newline"));
        assert!(!diff(Some(b"a"), Some(b"b")).contains("\\ No newline"));
    }

    #[test]
    fn an_empty_value_is_not_no_value() {
        assert_eq!(diff(Some(b""), None), "--- a\trevision 2\n+++ /dev/null\n");
    }

    #[test]
    fn what_would_garble_a_terminal_is_told_by_its_size() {
        for value in [b"\xff\xfe\xfd\xfc".as_slice(), b"\x1b[2J"] {
            let told = diff(Some(b"a"), Some(value));
            assert!(told.ends_with("binary: 1 byte became 4 bytes\n"), "{told}");
        }
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
