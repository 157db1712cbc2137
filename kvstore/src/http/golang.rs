//! Go's spellings: how Consul counts, escapes and reads queries; how it quotes is `kvapi`'s to say. Clients know its words,
//! so they are kept to the letter. Source: Go's strconv, net/url and unicode, as observed.

use std::borrow::Cow;
use std::fmt::Write as _;

pub(super) use kvapi::golang::{is_printable, quote};

/// Go's `strconv.ParseUint` in base ten; the error is Go's.
pub(super) fn parse_uint(text: &str) -> Result<u64, String> {
    let error = |what| format!("strconv.ParseUint: parsing {}: {what}", quote(text));
    if text.is_empty() {
        return Err(error("invalid syntax"));
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        if !byte.is_ascii_digit() {
            return Err(error("invalid syntax"));
        }
        let larger = number
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(byte - b'0')));
        larger.ok_or_else(|| error("value out of range"))
    })
}

/// Percent-decodes a part of a URL; in a query, `+` is a space. `None` if it cannot be decoded.
pub(super) fn unescape(text: &str, in_query: bool) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        out.push(match byte {
            b'%' => {
                let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
                let byte = digit(at)? * 16 + digit(at + 1)?;
                at += 2;
                u8::try_from(byte).ok()?
            }
            b'+' if in_query => b' ',
            byte => *byte,
        });
    }
    Some(out)
}

fn escape(text: &[u8], out: &mut String) {
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(*byte)),
            b' ' => out.push('+'),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// A query, decoded. Names are case-sensitive; of a name given twice the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Query {
    /// `None` if it cannot be decoded or has a semicolon in it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parameters = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            if part.contains(';') {
                return None;
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            parameters.push((unescape(name, true)?, unescape(value, true)?));
        }
        Some(Self { parameters })
    }

    /// Whether the parameter is there, whatever its value: how Consul reads booleans.
    pub(super) fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    /// The value's bytes.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.parameters
            .iter()
            .find(|(have, _)| have == name.as_bytes())
            .map(|(_, value)| &**value)
    }

    /// The value as text.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// The value, where an empty one is as good as none.
    pub(super) fn filled(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter that may be given several times.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.parameters
            .iter()
            .filter(move |(have, _)| have == name.as_bytes())
            .map(|(_, value)| &**value)
    }

    /// The whole query again, sorted by name.
    pub(super) fn encode(&self) -> String {
        let mut sorted: Vec<_> = self.parameters.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut out = String::new();
        for (name, value) in sorted {
            if !out.is_empty() {
                out.push('&');
            }
            escape(name, &mut out);
            out.push('=');
            escape(value, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_what_go_takes_for_numbers() {
        assert_eq!(parse_uint("007"), Ok(7));
        assert_eq!(parse_uint("18446744073709551615"), Ok(u64::MAX));
        for (text, what) in [
            ("", "invalid syntax"),
            ("+1", "invalid syntax"),
            ("0x1", "invalid syntax"),
            ("18446744073709551616", "value out of range"),
        ] {
            assert_eq!(
                parse_uint(text),
                Err(format!("strconv.ParseUint: parsing \"{text}\": {what}"))
            );
        }
    }

    #[test]
    fn a_query_is_read_and_written_as_go_does() {
        let query = Query::parse("cas=1&acquire=x%20y/z&&acquire=b&k").unwrap();

        assert_eq!(query.encode(), "acquire=x+y%2Fz&acquire=b&cas=1&k=");
        assert_eq!(query.get("acquire").as_deref(), Some("x y/z"));
        assert!(query.has("k") && query.filled("k").is_none() && !query.has("K"));
        for bad in ["a=%zz", "raw%", "a;b", "a=%4"] {
            assert_eq!(Query::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_unescapes(text in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut escaped = String::new();
            escape(&text, &mut escaped);
            prop_assert_eq!(unescape(&escaped, true), Some(text));
        }
    }
}
