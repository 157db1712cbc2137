//! JSON as Go writes it: compact, or indented by four spaces and ended by a line feed; `&`, `<`,
//! `>` and the two line separators escaped.

use serde::Serialize;

/// The text of a value. `pretty` is the query parameter of that name.
pub(super) fn write(value: &impl Serialize, pretty: bool) -> Vec<u8> {
    const WRITES: &str = "our own types have text keys, and a Vec takes all bytes";
    // An entry with a value of a few hundred bytes fits.
    let mut out = Vec::with_capacity(512);
    if !pretty {
        serde_json::to_writer(&mut out, value).expect(WRITES);
        return escape(out);
    }
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut out, indent))
        .expect(WRITES);
    out.push(b'\n');
    escape(out)
}

/// Escapes what Go escapes beyond the standard. These bytes stand within texts only.
fn escape(json: Vec<u8>) -> Vec<u8> {
    let special = |rest: &[u8]| match rest {
        [b'&', ..] => Some(("\\u0026", 1)),
        [b'<', ..] => Some(("\\u003c", 1)),
        [b'>', ..] => Some(("\\u003e", 1)),
        [0xe2, 0x80, 0xa8, ..] => Some(("\\u2028", 3)),
        [0xe2, 0x80, 0xa9, ..] => Some(("\\u2029", 3)),
        _ => None,
    };
    // Part by part without a way out, so that many bytes are looked at at a time.
    let some = |part: &[u8]| {
        let found = |found, byte: &u8| found | matches!(byte, b'&' | b'<' | b'>' | 0xe2);
        part.iter().fold(false, found)
    };
    if !json.chunks(64).any(some) {
        return json;
    }
    let mut out = Vec::with_capacity(json.len() + 64);
    let mut rest = &*json;
    while let Some(byte) = rest.first() {
        let (text, length) = special(rest).unwrap_or(("", 0));
        if length == 0 {
            out.push(*byte);
            rest = &rest[1..];
        } else {
            out.extend_from_slice(text.as_bytes());
            rest = &rest[length..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_escapes_more_than_it_must() {
        let text = String::from_utf8(write(&"a&<b>\u{2028}\u{2029}é√\n\"", false)).unwrap();
        assert_eq!(text, r#""a\u0026\u003cb\u003e\u2028\u2029é√\n\"""#);
    }

    #[test]
    fn pretty_is_four_spaces_and_a_line_feed() {
        assert_eq!(write(&["a"], true), b"[\n    \"a\"\n]\n");
        assert_eq!(write(&[""; 0], true), b"[]\n");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in any::<String>(), pretty in any::<bool>()) {
            let written = write(&text, pretty);
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
        }
    }
}
