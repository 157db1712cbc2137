//! Reads JSON as Go does: the same texts are taken, and refused in the same words.
//!
//! Go has two ways, and words of their own for them: [`first`] is its `Decoder`, which a server reads a
//! body with, and [`only`] its `Unmarshal`, which looks at a space behind the text's end.

use super::quote;

/// Deeper than anything that the API takes, and shallow enough for any stack.
const MAX_DEPTH: usize = 64;

/// A value. Numbers are kept as they are written; an object keeps every member, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// As it is written.
    Number(String),
    /// What stands between the quotes, decoded.
    Text(String),
    /// In order.
    Array(Vec<Self>),
    /// Every member, in order.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// What Go calls it in its errors.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// The first value of a text, or what Go says about it. What comes after it is not looked at.
pub fn first(text: &[u8]) -> Result<Json, String> {
    let mut reader = Reader {
        text,
        at: 0,
        end: None,
        ended: "unexpected EOF",
    };
    reader.skip_space();
    if reader.peek().is_none() {
        return Err("EOF".into());
    }
    reader.value(0)
}

/// The only value of a text, or what Go says about it.
pub fn only(text: &[u8]) -> Result<Json, String> {
    let mut reader = Reader {
        text,
        at: 0,
        end: Some(b' '),
        ended: "unexpected end of JSON input",
    };
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
    /// What stands behind the last byte, once.
    end: Option<u8>,
    /// What is said when there is nothing more.
    ended: &'static str,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        let end = || self.end.filter(|_| self.at == self.text.len());
        self.text.get(self.at).copied().or_else(end)
    }

    /// The next byte, taken.
    fn next(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or(self.ended)?;
        self.at += 1;
        Ok(byte)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, taken.
    fn next_word(&mut self) -> Result<u8, String> {
        self.skip_space();
        self.next()
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err("exceeded max depth".into());
        }
        match self.next_word()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => Ok(Json::Text(self.text()?)),
            b't' => self.literal("true", Json::Bool(true)),
            b'f' => self.literal("false", Json::Bool(false)),
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
            let name = self.text()?;
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
        if self.peek() == Some(b']') {
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
    fn text(&mut self) -> Result<String, String> {
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
            let quoted = quote(char::from(byte).to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    };
    format!("invalid character {shown} {place}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (text, words) in [
            ("", "EOF"),
            (" \n", "EOF"),
            ("[{", "unexpected EOF"),
            ("not", "invalid character 'o' in literal null (expecting 'u')"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            (
                "{1}",
                "invalid character '1' looking for beginning of object key string",
            ),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair"),
            (
                r#"{"a":1,}"#,
                "invalid character '}' looking for beginning of object key string",
            ),
            ("[01]", "invalid character '1' after array element"),
            ("[1.x]", "invalid character 'x' after decimal point in numeric literal"),
            ("[1ex]", "invalid character 'x' in exponent of numeric literal"),
            ("[-x]", "invalid character 'x' in numeric literal"),
            ("[\"\n\"]", "invalid character '\\n' in string literal"),
            (r#"["\x"]"#, "invalid character 'x' in string escape code"),
            (
                r#"["\u12g4"]"#,
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            ("'", "invalid character '\\'' looking for beginning of value"),
        ] {
            assert_eq!(first(text.as_bytes()), Err(words.to_owned()), "{text}");
        }
        assert_eq!(first("[".repeat(100_000).as_bytes()), Err("exceeded max depth".into()));
    }

    #[test]
    fn what_follows_the_value_does_not_matter() {
        assert_eq!(first(b" [] trailing"), Ok(Json::Array(vec![])));
        assert_eq!(
            first(b"\"\\ud83d\\ude00\\ud83d\xff\""),
            Ok(Json::Text("😀\u{fffd}\u{fffd}".into()))
        );
    }

    fn same(ours: &Json, theirs: &serde_json::Value) -> bool {
        match (ours, theirs) {
            (Json::Null, serde_json::Value::Null) => true,
            (Json::Bool(a), serde_json::Value::Bool(b)) => a == b,
            (Json::Number(a), serde_json::Value::Number(b)) => *a == b.to_string(),
            (Json::Text(a), serde_json::Value::String(b)) => a == b,
            (Json::Array(a), serde_json::Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
            }
            (Json::Object(a), serde_json::Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
            }
            _ => false,
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_reads_as_what_it_is(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) }.unwrap();
            let parsed = first(&text).unwrap();
            prop_assert!(same(&parsed, &value), "{parsed:?}");
        }

        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(prop::sample::select(br#"[]{}",:\u0d8e-.1tnf x"#.to_vec()), 0..30)) {
            let _ = first(&text);
        }
    }
}
