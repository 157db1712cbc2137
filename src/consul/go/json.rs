//! An export of Consul's, read and written as its command does it with Go's `encoding/json`.

use std::fmt::Write as _;

use kvapi::golang::json::{Json, only};
use serde::Serialize;

/// An entry of an export.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Exported {
    pub(crate) key: String,
    pub(crate) flags: u64,
    /// Base64.
    pub(crate) value: String,
    /// Of Consul Enterprise; only read.
    pub(crate) namespace: String,
}

/// The entries of an export; the error is Go's.
pub(crate) fn read(text: &[u8]) -> Result<Vec<Exported>, String> {
    let unfit = |found: &Json, wanted: &str| {
        let kind = found.kind();
        format!("json: cannot unmarshal {kind} into Go value of type {wanted}")
    };
    match only(text)? {
        Json::Null => Ok(Vec::new()),
        Json::Array(entries) => entries
            .iter()
            .enumerate()
            .map(|(at, entry)| match entry {
                Json::Object(members) => members.iter().try_fold(Exported::default(), member),
                // Here Consul's command breaks down.
                Json::Null => Err(format!("entry {at} is null")),
                other => Err(unfit(other, "impexp.Entry")),
            })
            .collect(),
        other => Err(unfit(&other, "[]*impexp.Entry")),
    }
}

/// Names are taken in any case, and `null` is as good as nothing.
fn member(mut entry: Exported, (name, value): &(String, Json)) -> Result<Exported, String> {
    let unfit = |kind: &str, field: &str, wanted: &str| {
        format!("json: cannot unmarshal {kind} into Go struct field Entry.{field} of type {wanted}")
    };
    let name = name.to_ascii_lowercase();
    match (name.as_str(), value) {
        (_, Json::Null) => {}
        ("key", Json::Text(text)) => entry.key.clone_from(text),
        ("value", Json::Text(text)) => entry.value.clone_from(text),
        ("namespace", Json::Text(text)) => entry.namespace.clone_from(text),
        ("flags", Json::Number(text)) => {
            let number = text.parse();
            entry.flags = number.map_err(|_| unfit(&format!("number {text}"), "flags", "uint64"))?;
        }
        ("flags", other) => return Err(unfit(other.kind(), "flags", "uint64")),
        (field @ ("key" | "value" | "namespace" | "partition"), other) if other.kind() != "string" => {
            return Err(unfit(other.kind(), field, "string"));
        }
        _ => {}
    }
    Ok(entry)
}

/// The entries as Consul's command writes them.
pub(crate) fn write(entries: &[Exported]) -> String {
    let mut out = String::from("[");
    for (at, entry) in entries.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let (key, flags, value) = (text(&entry.key), entry.flags, &entry.value);
        let _ = write!(
            out,
            "{comma}\n\t{{\n\t\t\"key\": {key},\n\t\t\"flags\": {flags},\n\t\t\"value\": \"{value}\"\n\t}}"
        );
    }
    out.push_str(if entries.is_empty() { "]" } else { "\n]" });
    out
}

/// Any value, indented by four spaces if it is to be pretty.
pub(crate) fn indented(value: &impl Serialize, pretty: bool) -> String {
    let mut out = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let written = match pretty {
        true => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, indent)),
        false => serde_json::to_writer(&mut out, value),
    };
    // What is shown has text keys and no values that JSON does not have.
    debug_assert!(written.is_ok(), "{written:?}");
    escaped(String::from_utf8_lossy(&out).into_owned())
}

fn text(text: &str) -> String {
    escaped(serde_json::Value::from(text).to_string())
}

/// What a page of HTML would stumble over is escaped too. It stands within texts only.
fn escaped(mut out: String) -> String {
    for (plain, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        out = out.replace(plain, escaped);
    }
    out
}

#[cfg(test)]
mod tests {
    fn invalid(byte: u8, place: &str) -> String {
        let shown = char::from(byte).escape_default();
        format!("invalid character '{shown}' {place}")
    }

    use proptest::prelude::*;

    use super::*;

    fn entry(key: &str, flags: u64, value: &str) -> Exported {
        Exported {
            key: key.into(),
            flags,
            value: value.into(),
            namespace: String::new(),
        }
    }

    /// As Go 1.26 answers.
    #[test]
    fn what_is_no_export_is_refused_in_the_words_of_go() {
        let field = |kind: &str, field: &str, wanted: &str| {
            format!("json: cannot unmarshal {kind} into Go struct field Entry.{field} of type {wanted}")
        };
        let value = |kind: &str, wanted: &str| format!("json: cannot unmarshal {kind} into Go value of type {wanted}");
        let end = "unexpected end of JSON input".to_owned();
        for (text, said) in [
            ("", end.clone()),
            (" ", end.clone()),
            ("[", end.clone()),
            ("[{", end.clone()),
            ("[\"", end.clone()),
            ("[1", end),
            ("x", invalid(b'x', "looking for beginning of value")),
            ("tru", "invalid character ' ' in literal true (expecting 'e')".into()),
            ("nope", "invalid character 'o' in literal null (expecting 'u')".into()),
            ("-", "invalid character ' ' in numeric literal".into()),
            ("[-]", "invalid character ']' in numeric literal".into()),
            ("[01]", "invalid character '1' after array element".into()),
            (
                "[1.]",
                "invalid character ']' after decimal point in numeric literal".into(),
            ),
            ("[1e]", "invalid character ']' in exponent of numeric literal".into()),
            ("[] x", "invalid character 'x' after top-level value".into()),
            (
                "[{\"key\":\"a\"},]",
                "invalid character ']' looking for beginning of value".into(),
            ),
            ("[{\"key\" \"a\"}]", "invalid character '\"' after object key".into()),
            (
                "[{\"key\":\"a\" \"b\"}]",
                "invalid character '\"' after object key:value pair".into(),
            ),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string".into(),
            ),
            ("[\"\\x\"]", "invalid character 'x' in string escape code".into()),
            (
                "[\"\\u12g\"]",
                "invalid character 'g' in \\u hexadecimal character escape".into(),
            ),
            ("[\"\n\"]", "invalid character '\\n' in string literal".into()),
            ("'", "invalid character '\\'' looking for beginning of value".into()),
            (
                "[{\"key\":\"é\" é}]",
                "invalid character 'Ã' after object key:value pair".into(),
            ),
            ("{}", value("object", "[]*impexp.Entry")),
            ("\"x\"", value("string", "[]*impexp.Entry")),
            ("1", value("number", "[]*impexp.Entry")),
            ("true", value("bool", "[]*impexp.Entry")),
            ("[1]", value("number", "impexp.Entry")),
            ("[[1],{\"key\":\"a\"}]", value("array", "impexp.Entry")),
            ("[{\"key\":1}]", field("number", "key", "string")),
            ("[{\"value\":[]}]", field("array", "value", "string")),
            ("[{\"value\":true}]", field("bool", "value", "string")),
            ("[{\"flags\":\"x\"}]", field("string", "flags", "uint64")),
            ("[{\"flags\":1.5}]", field("number 1.5", "flags", "uint64")),
            ("[{\"flags\":-1}]", field("number -1", "flags", "uint64")),
        ] {
            assert_eq!(read(text.as_bytes()), Err(said), "{text}");
        }
        assert_eq!(read("[".repeat(100_000).as_bytes()), Err("exceeded max depth".into()));
    }

    #[test]
    fn names_are_taken_in_any_case_and_null_is_nothing() {
        let text = r#"[{"KEY":"a","Flags":7,"value":null,"LockIndex":0},{"key":"\ud83d\ude00"}]"#;
        assert_eq!(read(text.as_bytes()), Ok(vec![entry("a", 7, ""), entry("😀", 0, "")]));
        assert_eq!(read(b" null "), Ok(vec![]));
        assert_eq!(read(b"[null]"), Err("entry 0 is null".into()));
    }

    #[test]
    fn an_export_is_written_as_go_does() {
        assert_eq!(write(&[]), "[]");
        assert_eq!(
            write(&[
                entry("a<b>&\u{2028}\"\\\u{1}\u{8}\u{c}\u{7f}é/", 0, "eA=="),
                entry("c", 7, "")
            ]),
            "[\n\t{\n\t\t\"key\": \"a\\u003cb\\u003e\\u0026\\u2028\\\"\\\\\\u0001\\b\\f\u{7f}é/\",\n\t\t\"flags\": 0,\n\t\t\"value\": \"eA==\"\n\t},\n\t{\n\t\t\"key\": \"c\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"\"\n\t}\n]"
        );
    }

    proptest! {
        #[test]
        fn an_export_reads_back(entries in prop::collection::vec((any::<String>(), any::<u64>(), "[A-Za-z0-9+/=]{0,8}"), 0..5)) {
            let entries: Vec<Exported> = entries.iter().map(|(key, flags, value)| entry(key, *flags, value)).collect();
            prop_assert_eq!(read(write(&entries).as_bytes()), Ok(entries));
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(prop::sample::select(br#"[]{}",:\u0d8e-.1tnf x"#.to_vec()), 0..30)) {
            let _ = read(&text);
        }
    }
}
