//! YAML out of the JSON form.
//!
//! A text is plain only where no reader takes it for anything but a text; several lines are a block;
//! everything else stands in double quotes, with the escapes of JSON, which YAML shares.

use serde_json::Value;

/// A longer name of a field needs the explicit form: readers give up looking for its colon.
const LONGEST_PLAIN_NAME: usize = 900;

/// The document, with a line feed at its end.
#[must_use]
pub fn document(value: &Value) -> String {
    indented(value, 2)
}

/// The same, with so many spaces for what is within an object.
#[must_use]
pub fn indented(value: &Value, width: usize) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => node(&mut out, value, 0, width),
        Value::Array(items) if !items.is_empty() => node(&mut out, value, 0, width),
        _ => {
            out.push_str(&scalar(value, 0));
            out.push('\n');
        }
    }
    out
}

/// A filled object or list, a line for each entry, from the start of a line.
fn node(out: &mut String, value: &Value, indent: usize, width: usize) {
    let margin = " ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = text(name);
                out.push_str(&margin);
                if name.len() > LONGEST_PLAIN_NAME {
                    out.push_str(&format!("? {name}\n{margin}"));
                } else {
                    out.push_str(&name);
                }
                out.push(':');
                rest(out, value, indent, width);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&margin);
                out.push('-');
                if is_filled(item) {
                    // The first entry stands behind the dash.
                    let mut inner = String::new();
                    node(&mut inner, item, indent + 2, width);
                    out.push(' ');
                    out.push_str(&inner[indent + 2..]);
                } else {
                    rest(out, item, indent, 2);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&scalar(value, indent)),
    }
}

/// What follows a colon or a dash, with its line feed.
fn rest(out: &mut String, value: &Value, indent: usize, width: usize) {
    if is_filled(value) {
        out.push('\n');
        node(out, value, indent + width, width);
    } else {
        out.push(' ');
        out.push_str(&scalar(value, indent + width));
        out.push('\n');
    }
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn scalar(value: &Value, indent: usize) -> String {
    match value {
        Value::String(value) if fits_a_block(value) => block(value, indent.max(2)),
        Value::String(value) => text(value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A text on one line.
#[must_use]
pub fn text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text may stand without quotes: it begins with a letter, has nothing that means something
/// to YAML, and is no word that means something else.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 12] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity",
    ];
    let first = text.chars().next().unwrap_or(' ');
    let follows_space = |at: usize| text[..at].ends_with(' ');
    (first.is_alphabetic() || matches!(first, '_' | '/'))
        && text.len() < 200
        && !text.ends_with([' ', ':'])
        && text.char_indices().all(|(at, c)| match c {
            ':' => !text[at + 1..].starts_with([' ', ':']),
            '#' => !follows_space(at),
            ' ' | '_' | '-' | '.' | '/' | '@' | '+' | '=' | '(' | ')' | '~' | '^' | ';' | '%' => true,
            c => c.is_alphanumeric(),
        })
        && !WORDS.contains(&text.to_lowercase().as_str())
}

/// A text in double quotes, whatever it is.
#[must_use]
pub fn quoted(text: &str) -> String {
    let json = Value::from(text).to_string();
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // What YAML counts as a line break or does not count as printable, and JSON lets stand.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether a text of several lines comes back from a block as it was.
fn fits_a_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && !text.ends_with("\n\n")
        && text.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
        && text.chars().all(|c| match c {
            '\n' | '\t' => true,
            '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
            c => !c.is_control(),
        })
}

fn block(text: &str, indent: usize) -> String {
    let (mark, body) = match text.strip_suffix('\n') {
        Some(body) => ("|", body),
        None => ("|-", text),
    };
    let margin = " ".repeat(indent);
    let lines = body.split('\n').map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("\n{margin}{line}"),
    });
    std::iter::once(mark.to_owned()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_and_lists_nest() {
        let value = json!({
            "a": {"b": [1, {"c": "x", "d": null}, []], "e": {}},
            "f": "two\nlines\n",
            "g": true,
        });

        assert_eq!(
            document(&value),
            "a:\n  b:\n    - 1\n    - c: x\n      d: null\n    - []\n  e: {}\nf: |\n  two\n  lines\ng: true\n"
        );
        assert_eq!(document(&json!([])), "[]\n");
        assert_eq!(document(&json!("a\nb")), "|-\n  a\n  b\n");
    }

    #[test]
    fn what_another_reader_would_take_for_something_else_is_quoted() {
        for quoted in [
            "8080", "1.10", "yes", "No", "null", "", " a", "a: b", "a #b", "- a", "*a", "a:", "\u{85}x",
        ] {
            assert!(text(quoted).starts_with('"'), "{quoted}: {}", text(quoted));
        }
        for plain in ["hello world", "http://a:80/b", "a#b", "/etc/x.conf", "ä/ö"] {
            assert_eq!(text(plain), plain);
        }
    }
}
