//! What differs between two texts, for a person: a unified diff of text, a sentence of anything else.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

/// Looking for the shortest diff of two long, unlike texts ends here; what is found by then is longer, and right.
const PATIENCE: Duration = Duration::from_millis(500);

/// How a missing side is called, as everywhere.
const ABSENT: &str = "/dev/null";

/// What stands for a line that is not shown.
pub const HIDDEN: &str = "(not shown: from a secret file)";

/// One side: what it is called, and the value if there is one.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub value: Option<&'a [u8]>,
}

/// Lines that are not shown, counted from 0.
#[derive(Clone, Copy)]
pub struct Hide<'a> {
    /// Those of the new side.
    pub new: &'a dyn Fn(usize) -> bool,
    /// All of the old side that are no longer there.
    pub old: bool,
}

/// The difference, every line with its line break; nothing if there is none.
///
/// `patch` can read it, but for one liberty: settings rarely end in a line break, so that one is missing is told
/// only where the two sides disagree about it.
#[must_use]
pub fn unified(old: Side<'_>, new: Side<'_>) -> String {
    let all = Hide {
        new: &|_| false,
        old: false,
    };
    hidden(old, new, all)
}

/// The same, with some lines not shown.
#[must_use]
pub fn hidden(old: Side<'_>, new: Side<'_>, hide: Hide<'_>) -> String {
    if old.value == new.value {
        return String::new();
    }
    let names = [old, new].map(|side| side.value.map_or(ABSENT, |_| side.name));
    let texts = [old, new].map(|side| side.value.map_or(Some(""), text));
    let mut told = format!("--- {}\n+++ {}\n", names[0], names[1]);
    let [Some(before), Some(after)] = texts else {
        return format!("{told}binary: {} became {}\n", size(old), size(new));
    };
    let (before, after) = whole_lines(before, after);
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(&before, &after);
    for hunk in diff.unified_diff().iter_hunks() {
        told.push_str(&format!("{}\n", hunk.header()));
        for change in hunk.iter_changes() {
            let is_hidden = match change.tag() {
                ChangeTag::Delete => hide.old,
                ChangeTag::Equal | ChangeTag::Insert => change.new_index().is_some_and(hide.new),
            };
            let line = change.value();
            let line = line.strip_suffix('\n').unwrap_or(line);
            told.push_str(&format!("{}{}\n", change.tag(), if is_hidden { HIDDEN } else { line }));
            if change.missing_newline() {
                told.push_str("\\ No newline at end of file\n");
            }
        }
    }
    told
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

/// Whether a terminal can show the text without being upset by it.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_line_that_is_hidden_is_told_but_not_shown() {
        let side = |name, value| Side { name, value };
        let hide = Hide {
            new: &|line| line == 1,
            old: true,
        };
        let told = hidden(side("a", Some(b"u\nold\n")), side("b", Some(b"u\nnew\nx\n")), hide);
        assert_eq!(
            told,
            format!("--- a\n+++ b\n@@ -1,2 +1,3 @@\n u\n-{HIDDEN}\n+{HIDDEN}\n+x\n")
        );
    }
}
