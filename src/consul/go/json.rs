//! JSON as Go's `encoding/json` reads and writes it, as far as an export of Consul's needs it.

use std::fmt::Write as _;

use super::quote;

/// Deeper than any export, and shallow enough for any stack.
const MAX_DEPTH: usize = 1_000;

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

/// A value. A number is kept as it is written.
enum Json {
    Null,
    Bool,
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// What Go calls it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// The entries of an export; the error is Go's.
pub(crate) fn read(text: &[u8]) -> Result<Vec<Exported>, String> {
    let unfit = |found: &Json, wanted: &str| {
        let kind = found.kind();
        format!("json: cannot unmarshal {kind} into Go value of type {wanted}")
    };
    match parse(text)? {
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

/// What a page of HTML would stumble over is escaped too.
fn text(text: &str) -> String {
    let mut out = serde_json::Value::from(text).to_string();
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

/// One value and nothing behind it.
fn parse(text: &[u8]) -> Result<Json, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.skip_space();
    match text.get(reader.at) {
        None => Ok(value),
        Some(byte) => Err(invalid(*byte, "after top-level value")),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// The byte that comes; at the end Go looks at a space more.
    fn peek(&self) -> Option<u8> {
        let end = (self.at == self.text.len()).then_some(b' ');
        self.text.get(self.at).copied().or(end)
    }

    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or("unexpected end of JSON input")?;
        self.at += 1;
        Ok(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, taken.
    fn next_word(&mut self) -> Result<u8, String> {
        loop {
            let byte = self.next()?;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(byte);
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err("exceeded max depth".into());
        }
        match self.next_word()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => Ok(Json::Text(self.string()?)),
            b't' => self.literal("true", Json::Bool),
            b'f' => self.literal("false", Json::Bool),
            b'n' => self.literal("null", Json::Null),
            first @ (b'-' | b'0'..=b'9') => self.number(first),
            byte => Err(invalid(byte, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut members = Vec::new();
        loop {
            match self.next_word()? {
                b'}' if members.is_empty() => return Ok(Json::Object(members)),
                b'"' => {}
                byte => return Err(invalid(byte, "looking for beginning of object key string")),
            }
            let name = self.string()?;
            match self.next_word()? {
                b':' => {}
                byte => return Err(invalid(byte, "after object key")),
            }
            members.push((name, self.value(depth + 1)?));
            match self.next_word()? {
                b',' => {}
                b'}' => return Ok(Json::Object(members)),
                byte => return Err(invalid(byte, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, String> {
        let mut elements = Vec::new();
        self.skip_space();
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            match self.next_word()? {
                b',' => {}
                b']' => return Ok(Json::Array(elements)),
                byte => return Err(invalid(byte, "after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Json) -> Result<Json, String> {
        for expected in word.bytes().skip(1) {
            let byte = self.next()?;
            if byte != expected {
                let expected = char::from(expected);
                return Err(invalid(byte, &format!("in literal {word} (expecting '{expected}')")));
            }
        }
        Ok(value)
    }

    fn number(&mut self, first: u8) -> Result<Json, String> {
        let start = self.at - 1;
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            byte => return Err(invalid(byte, "in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(Json::Number(
            String::from_utf8_lossy(&self.text[start..self.at]).into_owned(),
        ))
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, place: &str) -> Result<(), String> {
        let byte = self.next()?;
        if !byte.is_ascii_digit() {
            return Err(invalid(byte, place));
        }
        self.digits();
        Ok(())
    }

    /// The rest of a text whose opening quote has been taken.
    fn string(&mut self) -> Result<String, String> {
        let mut out = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Ok(String::from_utf8_lossy(&out).into_owned()),
                b'\\' => self.escape(&mut out)?,
                byte @ 0..=0x1f => return Err(invalid(byte, "in string literal")),
                byte => out.push(byte),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        out.push(match self.next()? {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let c = self.unicode()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            byte => return Err(invalid(byte, "in string escape code")),
        });
        Ok(())
    }

    /// Half a pair alone is U+FFFD.
    fn unicode(&mut self) -> Result<char, String> {
        let high = self.hex()?;
        let rest = self.text.get(self.at..).unwrap_or_default();
        if (0xd800..0xdc00).contains(&high) && rest.starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.next()?;
            let digit = char::from(byte).to_digit(16);
            code = code * 16 + digit.ok_or_else(|| invalid(byte, "in \\u hexadecimal character escape"))?;
        }
        Ok(code)
    }
}

fn invalid(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let quoted = quote(char::from(byte).to_string().as_bytes());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    };
    format!("invalid character {shown} {place}")
}

#[cfg(test)]
mod tests {
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
