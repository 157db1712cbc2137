//! The inside of an action: pipes, commands, terms.

use super::{Base, MAX_DEPTH, Pipe, Term, fault};
use crate::convert::go_lexer::Token;
use crate::convert::hcl::Fault;

/// A place in an action.
pub(super) struct Cursor<'a> {
    tokens: &'a [Token],
    pub(super) line: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(tokens: &'a [Token], line: usize) -> Self {
        let mut cursor = Self { tokens, line, depth: 0 };
        cursor.space();
        cursor
    }

    fn space(&mut self) {
        while let [Token::Space, rest @ ..] = self.tokens {
            self.tokens = rest;
        }
    }

    pub(super) fn is_done(&mut self) -> bool {
        self.space();
        self.tokens.is_empty()
    }

    pub(super) fn rest(&self) -> Vec<Token> {
        self.tokens.to_vec()
    }

    /// The word that says what the action is, taken; else nothing.
    pub(super) fn keyword(&mut self) -> &'a str {
        const WORDS: &[&str] = &[
            "if", "else", "end", "range", "with", "define", "block", "template", "break", "continue",
        ];
        match self.tokens {
            [Token::Word(word), rest @ ..] if WORDS.contains(&word.as_str()) => {
                self.tokens = rest;
                self.space();
                word
            }
            _ => "",
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Fault> {
        self.space();
        match self.tokens {
            [Token::Text(text), rest @ ..] => {
                self.tokens = rest;
                Ok(text.clone())
            }
            _ => Err(fault(self.line, "there has to be a name in quotes")),
        }
    }

    /// All that is left, as a pipe.
    pub(super) fn pipe(&mut self) -> Result<Pipe, Fault> {
        let pipe = self.inner()?;
        match self.tokens {
            [] => Ok(pipe),
            _ => Err(fault(self.line, "a `)` closes nothing")),
        }
    }

    fn variables(&mut self) -> (Vec<String>, bool) {
        let mut look = Self {
            tokens: self.tokens,
            ..*self
        };
        let mut vars = Vec::new();
        loop {
            look.space();
            let [Token::Variable(name), rest @ ..] = look.tokens else {
                return (Vec::new(), false);
            };
            vars.push(name.clone());
            look.tokens = rest;
            look.space();
            match look.tokens {
                [Token::Comma, rest @ ..] if vars.len() == 1 => look.tokens = rest,
                [mark @ (Token::Declare | Token::Assign), rest @ ..] => {
                    self.tokens = rest;
                    return (vars, *mark == Token::Assign);
                }
                _ => return (Vec::new(), false),
            }
        }
    }

    /// A pipe up to a closing parenthesis or the end.
    fn inner(&mut self) -> Result<Pipe, Fault> {
        let (vars, assigns) = self.variables();
        let mut commands = vec![Vec::new()];
        loop {
            self.space();
            match self.tokens {
                [] | [Token::Close, ..] => break,
                [Token::Pipe, rest @ ..] => {
                    self.tokens = rest;
                    commands.push(Vec::new());
                }
                _ => {
                    let term = self.term()?;
                    if let Some(last) = commands.last_mut() {
                        last.push(term);
                    }
                }
            }
        }
        if commands.iter().any(Vec::is_empty) {
            return Err(fault(self.line, "a value is missing"));
        }
        Ok(Pipe {
            vars,
            assigns,
            commands,
        })
    }

    fn term(&mut self) -> Result<Term, Fault> {
        let [first, rest @ ..] = self.tokens else {
            return Err(fault(self.line, "a value is missing"));
        };
        self.tokens = rest;
        let mut fields = Vec::new();
        let base = match first {
            Token::Dot => Base::Dot,
            Token::Field(name) => {
                fields.push(name.clone());
                Base::Dot
            }
            Token::Variable(name) => Base::Variable(name.clone()),
            Token::Text(text) => Base::Text(text.clone()),
            Token::Number(number) => Base::Number(number.clone()),
            Token::Char(c) => Base::Number(u32::from(*c).to_string()),
            Token::Word(word) => match word.as_str() {
                "true" => Base::Bool(true),
                "false" => Base::Bool(false),
                "nil" => Base::Nil,
                _ => Base::Function(word.clone()),
            },
            Token::Open => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(fault(self.line, format!("parentheses nest deeper than {MAX_DEPTH}")));
                }
                let pipe = self.inner()?;
                let [Token::Close, rest @ ..] = self.tokens else {
                    return Err(fault(self.line, "a `(` is never closed"));
                };
                self.tokens = rest;
                self.depth -= 1;
                Base::Pipe(Box::new(pipe))
            }
            Token::Pipe | Token::Close | Token::Declare | Token::Assign | Token::Comma | Token::Space => {
                return Err(fault(self.line, "this is no value"));
            }
        };
        while let [Token::Field(name), rest @ ..] = self.tokens {
            fields.push(name.clone());
            self.tokens = rest;
        }
        Ok(Term { base, fields })
    }
}
