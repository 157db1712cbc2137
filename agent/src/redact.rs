//! Values of the store are taken out of a text that somebody else wrote, such as a check's output.
//!
//! A value of eight bytes and more, and each such line of a longer one, becomes `‹key›`, also where it is
//! written with escapes as in JSON. The cost is
//! bounded by the text, which is short, and one look at each line of the values.

use std::borrow::Cow;
use std::collections::HashMap;

/// The shortest value that is taken out; shorter ones are words that stand everywhere.
const SHORTEST: usize = 8;

/// Comparisons in bytes; beyond them the text is not worth it.
const MOST: usize = 4 << 20;

/// The text without the values.
#[must_use]
pub fn redact<'a>(text: &str, values: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let bytes = text.as_bytes();
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (place, window) in bytes.windows(SHORTEST).enumerate() {
        places.entry(window).or_default().push(place);
    }
    let mut found: Vec<(usize, usize, &str)> = Vec::new();
    let mut work = 0;
    for (key, value) in values {
        let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines
            .flat_map(|line| [Some(Cow::Borrowed(line)), escaped(line)])
            .flatten()
        {
            let line = line.as_ref();
            let Some(at) = line.get(..SHORTEST).and_then(|start| places.get(start)) else {
                continue;
            };
            for &at in at {
                // What the text ends in may be cut off.
                let end = bytes.len().min(at + line.len());
                work += end - at;
                if work > MOST {
                    return "what was said holds too much of the store to be shown".to_owned();
                }
                if bytes[at..end] == line[..end - at] {
                    found.push((at, end, key));
                }
            }
        }
    }
    found.sort_by_key(|(at, end, _)| (*at, std::cmp::Reverse(*end)));
    let (mut out, mut done) = (Vec::with_capacity(bytes.len()), 0);
    for (at, end, key) in found {
        if at >= done {
            out.extend_from_slice(&bytes[done..at]);
            out.extend_from_slice(format!("‹{key}›").as_bytes());
        }
        done = done.max(end);
    }
    out.extend_from_slice(&bytes[done.min(bytes.len())..]);
    String::from_utf8_lossy(&out).into_owned()
}

/// A line as it stands in a text of JSON, if it stands there in another form.
fn escaped(line: &[u8]) -> Option<Cow<'static, [u8]>> {
    let special = line.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    let text = special
        .then(|| serde_json::to_string(&String::from_utf8_lossy(line)).ok())
        .flatten()?;
    let within = text.get(1..text.len() - 1)?;
    Some(Cow::Owned(within.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, values: &[(&str, &str)]) -> String {
        redact(text, values.iter().map(|(key, value)| (*key, value.as_bytes())))
    }

    #[test]
    fn values_are_taken_out_whole_in_lines_and_cut_off() {
        let values = [
            ("app/pw", "hunter2-hunter2"),
            ("app/pem", "BEGIN KEY\nabcdefghij\nEND"),
            ("s", "port"),
        ];
        assert_eq!(of("bad `hunter2-hunter2` port", &values), "bad `‹app/pw›` port");
        assert_eq!(of("line abcdefghij!", &values), "line ‹app/pem›!");
        assert_eq!(of("cut: hunter2-hu", &values), "cut: ‹app/pw›");
        let quoted = [("q", "long\"secret-1234")];
        assert_eq!(of("{\"got\":\"long\\\"secret-1234\"}", &quoted), "{\"got\":\"‹q›\"}");
        let twice = [("a", "secret-one"), ("b", "secret-one-and-more")];
        assert_eq!(of("x secret-one-and-more y", &twice), "x ‹b› y");
    }

    #[test]
    fn a_text_that_would_take_long_is_not_shown() {
        let same = "a".repeat(8000);
        let values: Vec<(String, String)> = (0..2000).map(|n| (format!("{n}"), same.clone())).collect();
        let told = redact(
            &same,
            values.iter().map(|(key, value)| (key.as_str(), value.as_bytes())),
        );
        assert!(told.len() < 100, "{}", told.len());
    }
}
