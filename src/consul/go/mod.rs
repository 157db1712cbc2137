//! Go's ways, which Consul's command shows. Here its spellings: URLs, errors of the system, base64;
//! [`flags`], [`json`], [`columns`] and [`table`] beside them.

pub(crate) mod columns;
pub(crate) mod flags;
pub(crate) mod json;
pub(crate) mod table;

use std::fmt::Write as _;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub(crate) use kvapi::golang::quote;

/// A path as it stands in a URL.
pub(crate) fn path(text: &[u8]) -> String {
    escape(text, b"-_.~$&+,/:;=@", "%20")
}

/// A name or a value as it stands in a query.
pub(crate) fn query(text: &[u8]) -> String {
    escape(text, b"-_.~", "+")
}

fn escape(text: &[u8], plain: &[u8], space: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' => out.push_str(space),
            byte if byte.is_ascii_alphanumeric() || plain.contains(byte) => out.push(char::from(*byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// What Go calls an error of the system: `connection refused`, without its number.
pub(crate) fn errno(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut rest = text.chars();
    match rest.next() {
        Some(first) if error.raw_os_error().is_some() => first.to_lowercase().chain(rest).collect(),
        _ => text.to_owned(),
    }
}

/// What stands in front of the first mistake, and what Go says of that.
pub(crate) fn base64(text: &[u8]) -> (Vec<u8>, Result<(), String>) {
    let (decoded, bad) = decode(text);
    let said = bad.map_or(Ok(()), |at| Err(format!("illegal base64 data at input byte {at}")));
    (decoded, said)
}

/// Line breaks are passed over anywhere; the position is that of Go, group of four by group of four.
fn decode(text: &[u8]) -> (Vec<u8>, Option<usize>) {
    let is_break = |at: usize| matches!(text.get(at), Some(b'\n' | b'\r'));
    let skip = |mut at: usize| {
        while is_break(at) {
            at += 1;
        }
        at
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut at = skip(0);
    while at < text.len() {
        let mut group = [b'='; 4];
        let mut filled = 0;
        let mut bad = None;
        while filled < 4 {
            let Some(&byte) = text.get(at) else {
                return (out, Some(at - filled));
            };
            at += 1;
            match byte {
                b'\n' | b'\r' => {}
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                    group[filled] = byte;
                    filled += 1;
                }
                b'=' if filled >= 2 => {
                    if filled == 2 {
                        at = skip(at);
                        match text.get(at) {
                            None => return (out, Some(text.len())),
                            Some(b'=') => at += 1,
                            Some(_) => return (out, Some(at - 1)),
                        }
                    }
                    at = skip(at);
                    bad = (at < text.len()).then_some(at);
                    break;
                }
                _ => return (out, Some(at - 1)),
            }
        }
        out.extend(group_bytes(group));
        if bad.is_some() {
            return (out, bad);
        }
        at = skip(at);
    }
    (out, None)
}

/// The bytes of four letters, of which the last may be padding. Go does not mind bits that nobody needs.
fn group_bytes(group: [u8; 4]) -> Vec<u8> {
    let padding = group.iter().filter(|byte| **byte == b'=').count();
    let whole = group.map(|byte| if byte == b'=' { b'A' } else { byte });
    let mut bytes = STANDARD.decode(whole).unwrap_or_default();
    bytes.truncate(3 - padding);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_are_escaped_as_go_does() {
        assert_eq!(path("/v1/kv/a b/ç+?=%".as_bytes()), "/v1/kv/a%20b/%C3%A7+%3F=%25");
        assert_eq!(query(b"/ a&"), "%2F+a%26");
    }

    #[test]
    fn an_error_of_the_system_is_in_the_words_of_go() {
        let refused = io::Error::from_raw_os_error(nix::errno::Errno::ECONNREFUSED as i32);
        assert_eq!(errno(&refused), "connection refused");
        let missing = io::Error::from_raw_os_error(nix::errno::Errno::ENOENT as i32);
        assert_eq!(errno(&missing), "no such file or directory");
    }

    /// As Go 1.26 answers.
    #[test]
    fn base64_goes_as_far_as_go_does_and_names_the_same_byte() {
        for (text, decoded, bad) in [
            ("", "", None),
            ("aGk=", "hi", None),
            ("aG\nk=\n", "hi", None),
            ("!!!", "", Some(0)),
            ("aGk", "", Some(0)),
            ("YWJjaGk", "abc", Some(4)),
            ("YWJj!!", "abc", Some(4)),
            ("YQ=", "", Some(3)),
            ("YQ=x", "", Some(2)),
            ("YQ==YQ==", "a", Some(4)),
            ("Y===", "", Some(1)),
            ("YR==", "a", None),
        ] {
            let (got, at) = decode(text.as_bytes());
            assert_eq!(
                (String::from_utf8(got).unwrap().as_str(), at),
                (decoded, bad),
                "{text:?}"
            );
        }
        assert_eq!(base64(b"!").1, Err("illegal base64 data at input byte 0".to_owned()));
    }

    proptest! {
        #[test]
        fn what_is_base64_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(STANDARD.encode(&bytes).as_bytes()), (bytes, None));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[A-D=!\n]{0,14}") {
            let _ = decode(text.as_bytes());
        }
    }
}
