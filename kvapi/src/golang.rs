//! Go's ways, which Consul's server and command show: their words are read by clients and scripts, so
//! they are kept to the letter. Source: Go's strconv, unicode and encoding/json, as observed.

pub mod json;

use std::fmt::Write as _;

/// A text in double quotes, as `%q` writes it.
#[must_use]
pub fn quote(text: impl AsRef<[u8]>) -> String {
    let mut out = String::from('"');
    for chunk in text.as_ref().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => {
                    out.push('\\');
                    out.push(c);
                }
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{b}' => out.push_str("\\v"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if is_printable(c) => out.push(c),
                c => {
                    let _ = match u32::from(c) {
                        code @ ..=0x7f => write!(out, "\\x{code:02x}"),
                        code @ ..=0xffff => write!(out, "\\u{code:04x}"),
                        code => write!(out, "\\U{code:08x}"),
                    };
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the plain space.
#[must_use]
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Within a text, Rust's debug form escapes what is not printable, by the same categories, and
    // nothing else; only a mark that begins a text is escaped besides.
    let mut buffer = [b'x'; 5];
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..length]).is_ok_and(|text| !text.escape_debug().skip(1).any(|escaped| escaped == '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        for (text, quoted) in [
            (&b"a \"b\"\\"[..], r#""a \"b\"\\""#),
            (b"\n\t\x00\x7f", r#""\n\t\x00\x7f""#),
            ("é\u{200b}".as_bytes(), "\"é\\u200b\""),
            (b"a\xff", r#""a\xff""#),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn quoting_is_gos() {
        assert_eq!(
            quote("a\"\\\n\u{1}é\u{200b}\u{e0001}"),
            r#""a\"\\\n\x01é\u200b\U000e0001""#
        );
    }

    #[test]
    fn what_is_printable_is_what_go_prints() {
        for c in ['a', ' ', 'ç', '😀', '\u{301}', '\u{fffd}', '✓'] {
            assert!(is_printable(c), "{c:?}");
        }
        for c in [
            '\0', '\t', '\n', '\u{7f}', '\u{a0}', '\u{ad}', '\u{200b}', '\u{2028}', '\u{e000}',
        ] {
            assert!(!is_printable(c), "{c:?}");
        }
    }
}
