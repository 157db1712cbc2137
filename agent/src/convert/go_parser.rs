//! Go's text/template as a tree, each node with its line and its place in the text.

use std::collections::BTreeMap;

use self::cursor::Cursor;
use super::go_lexer::{Part, PartKind, Token, lex};
use super::hcl::Fault;

mod cursor;

/// A template and those that it defines.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The template itself.
    pub main: Vec<Node>,
    /// What `define` and `block` name.
    pub defines: BTreeMap<String, Vec<Node>>,
}

/// A piece of a template.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// From 1.
    pub line: usize,
    /// The first byte.
    pub start: usize,
    /// The byte behind.
    pub end: usize,
}

/// See [`Node`].
#[derive(Debug, Clone)]
pub enum Kind {
    /// What is printed as it is.
    Text(String),
    /// A comment.
    Comment(String),
    /// `{{ pipe }}`.
    Action(Pipe),
    /// `if`, `with` or `range`.
    Block(Block),
    /// `{{ template "name" pipe }}`.
    Template(String, Option<Pipe>),
    /// `break` or `continue`.
    Jump,
}

/// `if`, `with` or `range`, with its `else`.
#[derive(Debug, Clone)]
pub struct Block {
    /// Which of them.
    pub word: Word,
    /// What is tested, or gone through.
    pub pipe: Pipe,
    /// What follows if it is there.
    pub body: Vec<Node>,
    /// What follows if not.
    pub otherwise: Option<Vec<Node>>,
    /// Whether the other half is one block, `else if` or `else with`.
    pub chained: bool,
}

/// What a block does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Chooses.
    If,
    /// Chooses and moves the dot.
    With,
    /// Goes through a list or a map.
    Range,
}

/// Commands whose results go from one to the next, and the variables that the last one is given to.
#[derive(Debug, Clone, Default)]
pub struct Pipe {
    /// `$i, $x :=`.
    pub vars: Vec<String>,
    /// Whether they are there already: `=`.
    pub assigns: bool,
    /// At least one.
    pub commands: Vec<Vec<Term>>,
}

/// A value or a function, and the fields behind it.
#[derive(Debug, Clone)]
pub struct Term {
    /// What it begins with.
    pub base: Base,
    /// `.A.B`.
    pub fields: Vec<String>,
}

/// See [`Term`].
#[derive(Debug, Clone)]
pub enum Base {
    /// `.`
    Dot,
    /// `$x`; `$` is empty.
    Variable(String),
    /// A function.
    Function(String),
    /// A text.
    Text(String),
    /// A number as it is written.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// `nil`.
    Nil,
    /// `( ... )`.
    Pipe(Box<Pipe>),
}

/// Deepest nesting of blocks and parentheses.
const MAX_DEPTH: usize = 64;

/// Reads a template.
pub fn parse(text: &str, left: &str, right: &str) -> Result<Parsed, Fault> {
    let parts = lex(text, left, right)?;
    let mut parser = Parser {
        parts: parts.into_iter().peekable(),
        parsed: Parsed::default(),
        depth: 0,
    };
    let (main, end) = parser.nodes()?;
    match end {
        Stop::Text => {}
        Stop::End { line, .. } => return Err(fault(line, "this `end` closes nothing")),
        Stop::Else { line, .. } => return Err(fault(line, "this `else` belongs to nothing")),
    }
    parser.parsed.main = main;
    Ok(parser.parsed)
}

fn fault(line: usize, reason: impl Into<String>) -> Fault {
    Fault {
        line,
        reason: reason.into(),
    }
}

/// What ended a list of nodes.
enum Stop {
    Text,
    End {
        line: usize,
        end: usize,
    },
    Else {
        line: usize,
        start: usize,
        rest: Vec<Token>,
    },
}

struct Parser {
    parts: std::iter::Peekable<std::vec::IntoIter<Part>>,
    parsed: Parsed,
    depth: usize,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, Stop), Fault> {
        let mut nodes = Vec::new();
        while let Some(part) = self.parts.next() {
            let (line, start, end) = (part.line, part.start, part.end);
            let tokens = match part.kind {
                PartKind::Text(text) => {
                    nodes.push(Node {
                        kind: Kind::Text(text),
                        line,
                        start,
                        end,
                    });
                    continue;
                }
                PartKind::Comment(text) => {
                    nodes.push(Node {
                        kind: Kind::Comment(text),
                        line,
                        start,
                        end,
                    });
                    continue;
                }
                PartKind::Action(tokens) => tokens,
            };
            let mut cursor = Cursor::new(&tokens, line);
            let (kind, end) = match cursor.keyword() {
                "end" => return Ok((nodes, Stop::End { line, end })),
                "else" => {
                    let rest = cursor.rest();
                    return Ok((nodes, Stop::Else { line, start, rest }));
                }
                "if" => self.block(Word::If, cursor)?,
                "with" => self.block(Word::With, cursor)?,
                "range" => self.block(Word::Range, cursor)?,
                "define" => {
                    let name = cursor.text()?;
                    let (body, _) = self.until_end(line, "define")?;
                    self.define(&name, body, line)?;
                    continue;
                }
                "block" => {
                    let name = cursor.text()?;
                    let pipe = cursor.pipe()?;
                    let (body, end) = self.until_end(line, "block")?;
                    self.define(&name, body, line)?;
                    (Kind::Template(name, Some(pipe)), end)
                }
                "template" => {
                    let name = cursor.text()?;
                    let pipe = if cursor.is_done() { None } else { Some(cursor.pipe()?) };
                    (Kind::Template(name, pipe), end)
                }
                "break" | "continue" => (Kind::Jump, end),
                _ => (Kind::Action(cursor.pipe()?), end),
            };
            nodes.push(Node { kind, line, start, end });
        }
        Ok((nodes, Stop::Text))
    }

    fn define(&mut self, name: &str, body: Vec<Node>, line: usize) -> Result<(), Fault> {
        match self.parsed.defines.insert(name.to_owned(), body) {
            None => Ok(()),
            Some(_) => Err(fault(line, format!("`{name}` is defined twice"))),
        }
    }

    fn until_end(&mut self, opened: usize, word: &str) -> Result<(Vec<Node>, usize), Fault> {
        self.deeper(opened)?;
        let (body, end) = self.nodes()?;
        self.depth -= 1;
        match end {
            Stop::End { end, .. } => Ok((body, end)),
            Stop::Else { line, .. } => Err(fault(line, format!("`{word}` has no `else`"))),
            Stop::Text => Err(fault(opened, format!("this `{word}` is never closed by `end`"))),
        }
    }

    fn deeper(&mut self, line: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(fault(line, format!("blocks nest deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    /// A block whose head the cursor has, and where it ends.
    fn block(&mut self, word: Word, mut cursor: Cursor<'_>) -> Result<(Kind, usize), Fault> {
        let opened = cursor.line;
        let pipe = cursor.pipe()?;
        self.deeper(opened)?;
        let (body, end) = self.nodes()?;
        let (otherwise, chained, end) = match end {
            Stop::End { end, .. } => (None, false, end),
            Stop::Text => return Err(fault(opened, "this block is never closed by `end`")),
            Stop::Else { line, start, rest } => {
                let mut cursor = Cursor::new(&rest, line);
                let next = match cursor.keyword() {
                    "if" => Some(Word::If),
                    "with" => Some(Word::With),
                    _ => None,
                };
                match next {
                    Some(next) => {
                        let (kind, end) = self.block(next, cursor)?;
                        let node = Node { kind, line, start, end };
                        (Some(vec![node]), true, end)
                    }
                    None => {
                        let (body, end) = self.nodes()?;
                        match end {
                            Stop::End { end, .. } => (Some(body), false, end),
                            Stop::Else { line, .. } => return Err(fault(line, "this `else` is a second one")),
                            Stop::Text => return Err(fault(opened, "this block is never closed by `end`")),
                        }
                    }
                }
            }
        };
        self.depth -= 1;
        let block = Block {
            word,
            pipe,
            body,
            otherwise,
            chained,
        };
        Ok((Kind::Block(block), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parsed {
        parse(text, "{{", "}}").unwrap()
    }

    #[test]
    fn a_block_knows_its_halves_and_its_place() {
        let text = "a{{ if x }}b{{ else if y }}c{{ else }}d{{ end }}e";
        let main = parsed(text).main;
        let Kind::Block(block) = &main[1].kind else { panic!() };
        assert!(block.chained);
        assert_eq!(&text[main[1].start..main[1].end], &text[1..text.len() - 1]);
        let Kind::Block(inner) = &block.otherwise.as_ref().unwrap()[0].kind else {
            panic!()
        };
        assert_eq!((inner.body.len(), inner.chained), (1, false));
        assert!(inner.otherwise.is_some());
    }

    #[test]
    fn a_pipe_knows_its_variables_and_fields() {
        let main = parsed("{{ range $k, $v := ls \"a\" | f (g .B.C).D $x.E }}{{ end }}").main;
        let Kind::Block(block) = &main[0].kind else { panic!() };
        assert_eq!(block.pipe.vars, ["k", "v"]);
        assert_eq!(block.pipe.commands.len(), 2);
        let last = &block.pipe.commands[1];
        assert_eq!(
            (last[1].fields.as_slice(), last[2].fields.as_slice()),
            (&["D".to_owned()][..], &["E".to_owned()][..])
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line) in [
            ("\n{{ if x }}", 2),
            ("\n{{ end }}", 2),
            ("{{ if x }}\n{{ else }}\n{{ else }}{{ end }}", 3),
            ("\n{{ (a }}", 2),
            ("\n{{ a) }}", 2),
            ("\n{{ a | }}", 2),
            ("{{ define \"x\" }}{{ end }}\n{{ define \"x\" }}{{ end }}", 2),
        ] {
            assert_eq!(parse(text, "{{", "}}").unwrap_err().line, line, "{text}");
        }
        assert!(parse(&"{{ if x }}".repeat(100), "{{", "}}").is_err());
        assert!(parse(&format!("{{{{ {} }}}}", "(".repeat(100)), "{{", "}}").is_err());
    }
}
