//! Blocks, and templates within templates.

use super::survey::plain;
use super::{MAX_SIZE, Scope, Translator};
use crate::convert::emit::{Piece, emit};
use crate::convert::functions::{Lack, Typed};
use crate::convert::go_parser::{Block, Pipe, Word};
use crate::convert::hbs::{Hbs, call};
use crate::convert::kinds::Kind;

impl Translator<'_> {
    pub(super) fn block(&mut self, block: &Block, scope: &mut Scope, line: usize) -> Result<Vec<Piece>, Lack> {
        let mut notes = Vec::new();
        let made = match block.word {
            Word::If => self.choice(block, scope, &mut notes)?,
            Word::With => self.with(block, scope, &mut notes)?,
            Word::Range => self.range(block, scope, &mut notes)?,
        };
        self.note(line, notes);
        Ok(vec![made])
    }

    fn choice(&mut self, block: &Block, scope: &Scope, notes: &mut Vec<String>) -> Result<Piece, Lack> {
        let mut inside = scope.clone();
        let (value, _) = if block.pipe.vars.is_empty() {
            self.truth(&block.pipe, scope, notes)?
        } else {
            let value = self.pipe(&block.pipe, scope, notes)?;
            self.bind(&block.pipe.vars[0], value.clone(), &mut inside)?;
            value
        };
        let open = format!("#if {}", self.frames.argument(&value, scope.inner));
        // Told of the block, and not of the first thing within it.
        if let Some(lack) = self.frames.trouble() {
            return Err(lack);
        }
        let mut branches = vec![(open, self.body(&block.body, &mut inside.clone()))];
        if let Some(nodes) = &block.otherwise {
            let mut pieces = self.body(nodes, &mut inside);
            match pieces.as_mut_slice() {
                [Piece::Block { branches: inner, close }] if block.chained && close == "if" => {
                    for (open, branch) in inner.drain(..) {
                        let open = open
                            .strip_prefix('#')
                            .map_or(open.clone(), |open| format!("else {open}"));
                        branches.push((open, branch));
                    }
                }
                _ => branches.push(("else".into(), pieces)),
            }
        }
        Ok(Piece::Block {
            branches,
            close: "if".into(),
        })
    }

    /// A variable of a block's head, which has no place to put a `set`.
    fn bind(&self, name: &str, value: Typed, scope: &mut Scope) -> Result<(), Lack> {
        if self.assigned.contains(name) || value.0.size() > MAX_SIZE {
            return Err(Lack::new(
                format!("`${name}` changes within the block"),
                "write it by hand",
            ));
        }
        scope.vars.push((name.to_owned(), value));
        Ok(())
    }

    fn with(&mut self, block: &Block, scope: &mut Scope, notes: &mut Vec<String>) -> Result<Piece, Lack> {
        let (value, kind) = self.pipe(&block.pipe, scope, notes)?;
        let hint = block.pipe.vars.last().map_or("it", String::as_str);
        let frame = self.frames.open(hint, "index");
        let mut inside = scope.clone();
        let dot = (
            Hbs::This {
                frame,
                fields: Vec::new(),
            },
            kind,
        );
        inside.inner = Some(frame);
        inside.dot = Some(dot.clone());
        if let Some(name) = block.pipe.vars.first() {
            self.bind(name, dot, &mut inside)?;
        }
        let body = self.body(&block.body, &mut inside);
        let open = format!(
            "#with {}{}",
            self.frames.argument(&value, scope.inner),
            self.frames.names(frame)
        );
        // Without an else, what is empty would be an error.
        let otherwise = self.body(block.otherwise.as_deref().unwrap_or_default(), &mut scope.clone());
        Ok(Piece::Block {
            branches: vec![(open, body), ("else".into(), otherwise)],
            close: "with".into(),
        })
    }

    fn range(&mut self, block: &Block, scope: &mut Scope, notes: &mut Vec<String>) -> Result<Piece, Lack> {
        let (value, kind) = self.pipe(&block.pipe, scope, notes)?;
        let inner = kind
            .inner()
            .ok_or_else(|| Lack::new("`range` of what is neither list nor map", "write it by hand"))?;
        let value = if kind == Kind::Number {
            call("range", [Hbs::Number("0".into()), value])
        } else {
            value
        };
        let hint = block.pipe.vars.last().map_or("item", String::as_str);
        let place_hint = match block.pipe.vars.as_slice() {
            [place, _] if place != "_" => place.as_str(),
            _ => "index",
        };
        let frame = self.frames.open(if hint == "_" { "item" } else { hint }, place_hint);
        let mut inside = scope.clone();
        let dot = (
            Hbs::This {
                frame,
                fields: Vec::new(),
            },
            inner,
        );
        inside.inner = Some(frame);
        inside.dot = Some(dot.clone());
        match block.pipe.vars.as_slice() {
            [] => {}
            [one] => self.bind(one, dot, &mut inside)?,
            [place, one, ..] => {
                let place_kind = match kind {
                    Kind::Map(_) => Kind::Text,
                    Kind::Document => Kind::Document,
                    _ => Kind::Number,
                };
                self.bind(place, (Hbs::Place { frame }, place_kind), &mut inside)?;
                self.bind(one, dot, &mut inside)?;
            }
        }
        let body = self.body(&block.body, &mut inside);
        let open = format!(
            "#each {}{}",
            self.frames.argument(&value, scope.inner),
            self.frames.names(frame)
        );
        let mut branches = vec![(open, body)];
        if let Some(nodes) = &block.otherwise {
            branches.push(("else".into(), self.body(nodes, &mut scope.clone())));
        }
        Ok(Piece::Block {
            branches,
            close: "each".into(),
        })
    }

    pub(super) fn include(
        &mut self,
        name: &str,
        pipe: Option<&Pipe>,
        scope: &mut Scope,
        line: usize,
    ) -> Result<Vec<Piece>, Lack> {
        let Some(nodes) = self.parsed.defines.get(name) else {
            return Err(Lack::new(
                format!("no template `{name}` is defined"),
                "write it by hand",
            ));
        };
        if self.recursive.contains(name) {
            return Err(Lack::new(format!("`{name}` includes itself"), "write it as {{#each}}"));
        }
        let mut notes = Vec::new();
        let given = pipe.map(|pipe| self.pipe(pipe, scope, &mut notes)).transpose()?;
        self.note(line, notes);
        let kind = given.as_ref().map(|(_, kind)| kind.clone());
        match self.partials.get(name) {
            Some((known, _)) if *known != kind => {
                return Err(Lack::new(
                    format!("`{name}` is given another kind of value than before"),
                    "make it a partial of its own",
                ));
            }
            Some(_) => {}
            None => {
                let mut inside = Scope::default();
                if let Some(kind) = &kind {
                    let frame = self.frames.root();
                    let dot = (
                        Hbs::This {
                            frame,
                            fields: Vec::new(),
                        },
                        kind.clone(),
                    );
                    inside.inner = Some(frame);
                    inside.dot = Some(dot.clone());
                    inside.root = Some(dot);
                }
                let text = emit(self.body(nodes, &mut inside));
                self.partials.insert(name.to_owned(), (kind, text));
            }
        }
        let argument = given.map(|(value, _)| format!(" {}", self.frames.argument(&value, scope.inner)));
        Ok(vec![Piece::Partial(format!(
            "> {}{}{}",
            self.prefix,
            plain(name),
            argument.unwrap_or_default()
        ))])
    }
}
