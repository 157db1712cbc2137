//! HCL 1, as consul-template reads it, and its JSON form, with the line of every entry.
//!
//! Readers of HCL 2 do not fit: to them `perms = 0600` is six hundred, two entries on one line are
//! an error, and `%{` in an nginx log format begins a directive.

/// `key = value` or `key "label" { ... }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Quoted words before the brace.
    pub labels: Vec<String>,
    /// From 1.
    pub line: usize,
    /// What it is set to.
    pub value: Value,
}

/// What an entry is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text, and where it begins.
    Text(Text),
    /// As it is written: `0600` is not 600.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// JSON's `null`.
    Null,
    /// `[...]`.
    List(Vec<Self>),
    /// `{...}`.
    Object(Vec<Entry>),
}

/// A text of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Without quotes and escapes.
    pub text: String,
    /// The line of its first character.
    pub line: usize,
    /// Whether its lines are lines of the file.
    pub heredoc: bool,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// For a person.
    pub reason: String,
}

/// Deepest nesting of lists and objects.
const MAX_DEPTH: usize = 64;

/// All entries of a file.
pub fn parse(text: &str) -> Result<Vec<Entry>, Fault> {
    let mut reader = Reader {
        text,
        at: 0,
        line: 1,
        depth: 0,
    };
    reader.skip()?;
    if reader.peek() != Some('{') {
        let entries = reader.entries()?;
        return match reader.peek() {
            None => Ok(entries),
            Some(_) => Err(reader.fault("this `}` closes nothing")),
        };
    }
    let Value::Object(entries) = reader.value()? else {
        return Err(reader.fault("the file is no object"));
    };
    reader.skip()?;
    match reader.peek() {
        None => Ok(entries),
        Some(_) => Err(reader.fault("there is something behind the object")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault {
            line: self.line,
            reason: reason.into(),
        }
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let passed = &self.text[self.at..self.at + bytes];
        self.line += passed.matches('\n').count();
        self.at += bytes;
        passed
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.advance(c.len_utf8());
        Some(c)
    }

    /// White space, comments and the commas that JSON has and HCL allows.
    fn skip(&mut self) -> Result<(), Fault> {
        loop {
            let rest = self.rest();
            if rest.starts_with('#') || rest.starts_with("//") {
                self.advance(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                let end = rest
                    .find("*/")
                    .ok_or_else(|| self.fault("this comment has no end `*/`"))?;
                self.advance(end + 2);
            } else if rest.starts_with(|c: char| c.is_whitespace() || c == ',' || c == '\u{feff}') {
                self.next();
            } else {
                return Ok(());
            }
        }
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                None | Some('}') => return Ok(entries),
                Some(_) => entries.push(self.entry()?),
            }
        }
    }

    fn entry(&mut self) -> Result<Entry, Fault> {
        let line = self.line;
        let key = self.name()?;
        let mut labels = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some('=' | ':') => {
                    self.next();
                    self.skip()?;
                    break;
                }
                Some('{') => break,
                Some('"') => labels.push(self.name()?),
                _ => return Err(self.fault(format!("`{key}` needs `=` and a value, or a block in braces"))),
            }
        }
        Ok(Entry {
            key,
            labels,
            line,
            value: self.value()?,
        })
    }

    fn name(&mut self) -> Result<String, Fault> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
            .unwrap_or(rest.len());
        if end == 0 {
            let found = self.peek().unwrap_or(' ');
            return Err(self.fault(format!("there has to be the name of an entry, not `{found}`")));
        }
        Ok(self.advance(end).to_owned())
    }

    fn value(&mut self) -> Result<Value, Fault> {
        let line = self.line;
        match self.peek() {
            Some('"') => self.quoted().map(|text| {
                Value::Text(Text {
                    text,
                    line,
                    heredoc: false,
                })
            }),
            Some('<') => self.heredoc(),
            Some('{') => {
                self.deeper('{')?;
                let entries = self.entries()?;
                self.close('}', line)?;
                Ok(Value::Object(entries))
            }
            Some('[') => {
                self.deeper('[')?;
                let mut values = Vec::new();
                loop {
                    self.skip()?;
                    if matches!(self.peek(), None | Some(']')) {
                        break;
                    }
                    values.push(self.value()?);
                }
                self.close(']', line)?;
                Ok(Value::List(values))
            }
            Some(_) => self.word(),
            None => Err(self.fault("a value is missing")),
        }
    }

    fn deeper(&mut self, open: char) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("lists and blocks nest deeper than {MAX_DEPTH}")));
        }
        self.advance(open.len_utf8());
        Ok(())
    }

    fn close(&mut self, mark: char, opened: usize) -> Result<(), Fault> {
        self.depth -= 1;
        if self.peek() == Some(mark) {
            self.next();
            return Ok(());
        }
        Err(Fault {
            line: opened,
            reason: format!("what is opened here is never closed by `{mark}`"),
        })
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.')))
            .unwrap_or(rest.len());
        match &rest[..end] {
            "true" => {
                self.advance(end);
                Ok(Value::Bool(true))
            }
            "false" => {
                self.advance(end);
                Ok(Value::Bool(false))
            }
            "null" => {
                self.advance(end);
                Ok(Value::Null)
            }
            number if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                Ok(Value::Number(self.advance(end).to_owned()))
            }
            _ => {
                let word = rest.split(char::is_whitespace).next().unwrap_or_default();
                let shown: String = word.chars().take(20).collect();
                Err(self.fault(format!("`{shown}` is no value; texts need quotes")))
            }
        }
    }

    /// A quoted text. What is between `${` and `}` is taken as it is, quotes too.
    fn quoted(&mut self) -> Result<String, Fault> {
        let opened = self.line;
        self.next();
        let (mut text, mut braces) = (String::new(), 0_usize);
        loop {
            let c = self.next().filter(|c| *c != '\n' || braces > 0).ok_or(Fault {
                line: opened,
                reason: "this text has no closing quote".into(),
            })?;
            match c {
                '"' if braces == 0 => return Ok(text),
                '\\' if braces == 0 => text.push(self.escape()?),
                '$' if self.peek() == Some('{') => {
                    self.next();
                    braces += 1;
                    text.push_str("${");
                }
                '{' if braces > 0 => {
                    braces += 1;
                    text.push(c);
                }
                '}' if braces > 0 => {
                    braces -= 1;
                    text.push(c);
                }
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let c = self.next().unwrap_or(' ');
        Ok(match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '"' | '\\' | '/' => c,
            'x' => self.code(2)?,
            'u' => match self.digits(4)? {
                high @ 0xd800..=0xdbff if self.rest().starts_with("\\u") => {
                    self.advance(2);
                    let low = self.digits(4)?;
                    let pair = 0x1_0000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                    char::from_u32(pair).ok_or_else(|| self.fault("this escape is no character"))?
                }
                one => char::from_u32(one).ok_or_else(|| self.fault("this escape is no character"))?,
            },
            'U' => self.code(8)?,
            other => return Err(self.fault(format!("`\\{other}` is no escape"))),
        })
    }

    fn code(&mut self, digits: usize) -> Result<char, Fault> {
        let code = self.digits(digits)?;
        char::from_u32(code).ok_or_else(|| self.fault("this escape is no character"))
    }

    fn digits(&mut self, count: usize) -> Result<u32, Fault> {
        let digits = self.rest().get(..count);
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or_else(|| self.fault(format!("this escape needs {count} hexadecimal digits")))?;
        self.advance(count);
        Ok(code)
    }

    /// `<<EOH` up to a line that is `EOH`. With `<<-` the end's indentation is taken off each line, if
    /// each has it.
    fn heredoc(&mut self) -> Result<Value, Fault> {
        let opened = self.line;
        let rest = self.rest();
        let head = rest.lines().next().unwrap_or_default();
        let (dash, mark) = match head.strip_prefix("<<-") {
            Some(mark) => (true, mark),
            None => (false, head.strip_prefix("<<").unwrap_or_default()),
        };
        let mark = mark.trim_end();
        if mark.is_empty() || !rest.contains('\n') {
            return Err(self.fault("there has to be `<<NAME` and lines up to NAME"));
        }
        self.advance(rest.find('\n').map_or(rest.len(), |at| at + 1));
        let line = self.line;
        let body = self.rest();
        let (mut start, mut end) = (0, None);
        for one in body.split_inclusive('\n') {
            if one.trim() == mark {
                end = Some((start, one));
                break;
            }
            start += one.len();
        }
        let (length, last) = end.ok_or(Fault {
            line: opened,
            reason: format!("this text has no line `{mark}` that ends it"),
        })?;
        let margin = &last[..last.len() - last.trim_start().len()];
        let text = &body[..length];
        let indented = text.split_inclusive('\n').all(|one| one.starts_with(margin));
        let text = match (dash, indented) {
            (true, true) => text.split_inclusive('\n').map(|one| &one[margin.len()..]).collect(),
            (true, false) => text.to_owned(),
            (false, _) => format!("{text}{margin}"),
        };
        self.advance(length + last.trim_end().len());
        Ok(Value::Text(Text {
            text,
            line,
            heredoc: true,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &Value) -> &str {
        match value {
            Value::Text(text) => &text.text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entries_are_found_with_their_lines() {
        let entries =
            parse("# c\nwait = \"5s\" /* x\n */ template { perms = 0600 source = \"a\" }\nx \"l\" {}\n").unwrap();
        let found: Vec<_> = entries.iter().map(|one| (one.key.as_str(), one.line)).collect();
        assert_eq!(found, [("wait", 2), ("template", 3), ("x", 4)]);
        let Value::Object(inner) = &entries[1].value else {
            panic!()
        };
        assert_eq!(inner[0].value, Value::Number("0600".into()));
        assert_eq!(text(&inner[1].value), "a");
        assert_eq!(entries[2].labels, ["l"]);
    }

    #[test]
    fn json_is_the_same_thing() {
        let entries =
            parse("{\n \"template\": [\n {\"source\": \"a\\u00e9\\ud83d\\ude00\"}], \"once\": true}").unwrap();
        assert_eq!((entries[0].line, entries[1].line), (2, 3));
        let Value::List(list) = &entries[0].value else { panic!() };
        let Value::Object(one) = &list[0] else { panic!() };
        assert_eq!(text(&one[0].value), "aé😀");
    }

    #[test]
    fn a_text_of_several_lines_is_taken_as_it_is() {
        let value = |hcl: &str| text(&parse(hcl).unwrap()[0].value).to_owned();
        assert_eq!(
            value("a = <<EOH\n${x} %{y}\\n\n  EOH2\nEOH\n"),
            "${x} %{y}\\n\n  EOH2\n"
        );
        assert_eq!(value("a = <<-E\n    x\n      y\n    E\nb = 1"), "x\n  y\n");
        assert_eq!(value("a = <<-E\n  x\n    E\n"), "  x\n");
        assert_eq!(value(r#"a = "x ${y "z"} \"q\"\n""#), "x ${y \"z\"} \"q\"\n");
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let refused = |hcl: &str, line, part: &str| {
            let fault = parse(hcl).unwrap_err();
            assert_eq!(fault.line, line, "{hcl}: {fault:?}");
            assert!(fault.reason.contains(part), "{hcl}: {fault:?}");
        };
        refused("a = 1\ntemplate {\n", 2, "never closed");
        refused("a = 1\n}", 2, "closes nothing");
        refused("\na = yes", 2, "need quotes");
        refused("a = \"x\n\"", 1, "closing quote");
        refused("a = <<E\nx\n", 1, "`E`");
        refused("a b", 1, "needs `=`");
        refused(&"a = [".repeat(100), 1, "");
    }

    proptest! {
        /// Whatever the text is, the answer comes and names a line of it.
        #[test]
        fn any_text_is_answered(text in r#"([a-z ={}\[\]",\n#\\]|<<E|é|\$\{){0,60}"#) {
            if let Err(fault) = parse(&text) {
                prop_assert!(fault.line >= 1 && fault.line <= text.matches('\n').count() + 1);
            }
        }
    }
}
