//! Go's text/template, cut into texts and actions.
//!
//! Texts come out as they are printed: what `{{-` and `-}}` take away is gone.

use super::hcl::Fault;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// From 1.
    pub line: usize,
    /// The first byte.
    pub start: usize,
    /// The byte behind.
    pub end: usize,
}

/// See [`Part`].
#[derive(Debug, Clone, PartialEq)]
pub enum PartKind {
    /// What is printed as it is.
    Text(String),
    /// `{{/* ... */}}`.
    Comment(String),
    /// Any other action.
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// `key`, `if`, `true`.
    Word(String),
    /// `.Key`, without the dot.
    Field(String),
    /// `$x`, without the dollar; the dollar alone is empty.
    Variable(String),
    /// `"x"` or `` `x` ``.
    Text(String),
    /// As it is written.
    Number(String),
    /// `'x'`.
    Char(char),
    /// `.`
    Dot,
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
    /// White space: it tells `$x.Key` from `$x .Key`.
    Space,
}

/// What Go takes for white space.
pub const SPACE: &[char] = &[' ', '\t', '\r', '\n'];

/// Cuts a template up.
pub fn lex(text: &str, left: &str, right: &str) -> Result<Vec<Part>, Fault> {
    let mut parts = Vec::new();
    let (mut at, mut trim) = (0, false);
    let line_of = |at: usize| text[..at].matches('\n').count() + 1;
    loop {
        let start = at;
        let open = text[at..].find(left).map(|found| at + found);
        let mut inside = open.map_or(text.len(), |open| open + left.len());
        let mut printed = &text[start..open.unwrap_or(text.len())];
        if trim {
            printed = printed.trim_start_matches(SPACE);
        }
        let before = text[inside..]
            .strip_prefix('-')
            .is_some_and(|rest| rest.starts_with(SPACE));
        if before {
            printed = printed.trim_end_matches(SPACE);
            inside += 1;
        }
        if !printed.is_empty() {
            parts.push(Part {
                kind: PartKind::Text(printed.to_owned()),
                line: line_of(start),
                start,
                end: open.unwrap_or(text.len()),
            });
        }
        let Some(open) = open else {
            return Ok(parts);
        };
        let line = line_of(open);
        let body = text[inside..].trim_start_matches(SPACE);
        let comment = if before { body } else { &text[inside..] };
        let (kind, end) = if comment.starts_with("/*") {
            let from = text.len() - comment.len();
            let length = comment
                .find("*/")
                .ok_or_else(|| fault(line, "this comment has no end `*/`"))?;
            (PartKind::Comment(comment[2..length].to_owned()), from + length + 2)
        } else {
            let (tokens, end) = action(text, inside, right, line)?;
            (PartKind::Action(tokens), end)
        };
        let rest = &text[end..];
        let spaced = rest.trim_start_matches(SPACE);
        let dashed = (spaced.len() < rest.len()).then(|| spaced.strip_prefix('-')).flatten();
        let closed = dashed.and_then(|rest| rest.strip_prefix(right));
        trim = closed.is_some();
        let rest = closed
            .or_else(|| rest.strip_prefix(right))
            .ok_or_else(|| fault(line, format!("this action is not closed by `{right}`")))?;
        at = text.len() - rest.len();
        parts.push(Part {
            kind,
            line,
            start: open,
            end: at,
        });
    }
}

fn fault(line: usize, reason: impl Into<String>) -> Fault {
    Fault {
        line,
        reason: reason.into(),
    }
}

/// The tokens up to the closing delimiter or its trim mark, and where that begins.
fn action(text: &str, from: usize, right: &str, line: usize) -> Result<(Vec<Token>, usize), Fault> {
    let mut tokens = Vec::new();
    let mut at = from;
    loop {
        let rest = &text[at..];
        let spaced = rest.trim_start_matches(SPACE);
        let spaces = rest.len() - spaced.len();
        let dashed = spaces > 0 && spaced.strip_prefix('-').is_some_and(|rest| rest.starts_with(right));
        if rest.starts_with(right) || dashed {
            return Ok((tokens, at));
        }
        if spaces > 0 {
            tokens.push(Token::Space);
            at += spaces;
            continue;
        }
        let Some(c) = rest.chars().next() else {
            return Err(fault(line, format!("this action is not closed by `{right}`")));
        };
        let (token, length) = token(rest, c).map_err(|reason| fault(line, reason))?;
        tokens.push(token);
        at += length;
    }
}

fn token(rest: &str, c: char) -> Result<(Token, usize), String> {
    let word = |from: usize| {
        let end = rest[from..].find(|c: char| !(c.is_alphanumeric() || c == '_'));
        &rest[from..end.map_or(rest.len(), |end| from + end)]
    };
    let next = rest[c.len_utf8()..].chars().next().unwrap_or(' ');
    Ok(match c {
        '|' => (Token::Pipe, 1),
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        ',' => (Token::Comma, 1),
        ':' if next == '=' => (Token::Declare, 2),
        '=' => (Token::Assign, 1),
        '$' => (Token::Variable(word(1).to_owned()), 1 + word(1).len()),
        '.' if next.is_ascii_digit() => number(rest),
        '.' => match word(1) {
            "" => (Token::Dot, 1),
            name => (Token::Field(name.to_owned()), 1 + name.len()),
        },
        '`' => {
            let end = rest[1..].find('`').ok_or("this text has no closing back-quote")?;
            (Token::Text(rest[1..=end].to_owned()), end + 2)
        }
        '"' => {
            let (text, length) = quoted(rest, '"')?;
            (Token::Text(text), length)
        }
        '\'' => {
            let (text, length) = quoted(rest, '\'')?;
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(one), None) => (Token::Char(one), length),
                _ => return Err(format!("`{}` is not one character", &rest[..length])),
            }
        }
        c if c.is_ascii_digit() => number(rest),
        '+' | '-' if next.is_ascii_digit() || next == '.' => number(rest),
        c if c.is_alphabetic() || c == '_' => (Token::Word(word(0).to_owned()), word(0).len()),
        other => return Err(format!("`{other}` has no meaning here")),
    })
}

fn number(rest: &str) -> (Token, usize) {
    let signed = usize::from(rest.starts_with(['+', '-']));
    let mut end = signed;
    let mut before = ' ';
    for c in rest[signed..].chars() {
        let exponent = matches!(before, 'e' | 'E') && matches!(c, '+' | '-');
        if !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || exponent) {
            break;
        }
        before = c;
        end += 1;
    }
    (Token::Number(rest[..end].to_owned()), end)
}

/// A text in quotes, and how long it is with them.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    let open = || "this text has no closing quote".to_owned();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((text, at + 1)),
            '\n' => return Err(open()),
            '\\' => {
                let (at, c) = chars.next().ok_or_else(open)?;
                let digits = |count: usize, radix: u32, from: usize| {
                    let code = rest
                        .get(from..from + count)
                        .and_then(|digits| u32::from_str_radix(digits, radix).ok());
                    code.and_then(char::from_u32)
                        .filter(|c| count > 3 || c.is_ascii())
                        .ok_or_else(|| format!("`\\{c}` is no escape of a character"))
                };
                let (escaped, skip) = match c {
                    'n' => ('\n', 0),
                    't' => ('\t', 0),
                    'r' => ('\r', 0),
                    'a' => ('\u{7}', 0),
                    'b' => ('\u{8}', 0),
                    'f' => ('\u{c}', 0),
                    'v' => ('\u{b}', 0),
                    '\\' | '"' | '\'' => (c, 0),
                    'x' => (digits(2, 16, at + 1)?, 2),
                    'u' => (digits(4, 16, at + 1)?, 4),
                    'U' => (digits(8, 16, at + 1)?, 8),
                    '0'..='7' => (digits(3, 8, at)?, 2),
                    other => return Err(format!("`\\{other}` is no escape")),
                };
                text.push(escaped);
                for _ in 0..skip {
                    chars.next();
                }
            }
            c => text.push(c),
        }
    }
    Err(open())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<PartKind> {
        lex(text, "{{", "}}")
            .unwrap()
            .into_iter()
            .map(|part| part.kind)
            .collect()
    }

    fn word(word: &str) -> Token {
        Token::Word(word.into())
    }

    #[test]
    fn trim_marks_take_white_space_away_as_in_go() {
        assert_eq!(
            kinds("a \n {{- x -}} \n b {{/* c */ -}} \n{{-3}}"),
            [
                PartKind::Text("a".into()),
                PartKind::Action(vec![Token::Space, word("x")]),
                PartKind::Text("b ".into()),
                PartKind::Comment(" c ".into()),
                PartKind::Action(vec![Token::Number("-3".into())]),
            ]
        );
    }

    #[test]
    fn texts_and_fields_are_told_apart() {
        let Some(PartKind::Action(tokens)) = kinds(r#"{{$x.Key|f "}}\n" `\n` .5 'c' (.)}}"#).pop() else {
            panic!()
        };
        assert_eq!(
            tokens,
            [
                Token::Variable("x".into()),
                Token::Field("Key".into()),
                Token::Pipe,
                word("f"),
                Token::Space,
                Token::Text("}}\n".into()),
                Token::Space,
                Token::Text("\\n".into()),
                Token::Space,
                Token::Number(".5".into()),
                Token::Space,
                Token::Char('c'),
                Token::Space,
                Token::Open,
                Token::Dot,
                Token::Close,
            ]
        );
    }

    #[test]
    fn other_delimiters_leave_braces_alone() {
        let parts = lex("{{a}}<<key \"b\">>\n", "<<", ">>").unwrap();
        assert_eq!(parts[0].kind, PartKind::Text("{{a}}".into()));
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn what_is_left_open_is_named_with_its_line() {
        for text in ["\n{{ a", "\n{{/* a", "\n{{ \"a }}", "\n{{ a ; }}"] {
            assert_eq!(lex(text, "{{", "}}").unwrap_err().line, 2, "{text}");
        }
    }
}
