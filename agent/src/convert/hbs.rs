//! Expressions of Handlebars, before they are written out.

use std::cell::RefCell;

use super::functions::Lack;

/// A value or a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Hbs {
    /// A text.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// What a block goes through, by the block's number, and a way into it.
    This {
        /// Which block.
        frame: usize,
        /// `.a.b`.
        fields: Vec<String>,
    },
    /// The place that a block is at: an index or a key.
    Place {
        /// Which block.
        frame: usize,
    },
    /// A helper.
    Call {
        /// Its name.
        name: &'static str,
        /// What comes first.
        args: Vec<Self>,
        /// What is named.
        options: Vec<(&'static str, Self)>,
    },
}

/// A call without options.
pub fn call<const N: usize>(name: &'static str, args: [Hbs; N]) -> Hbs {
    Hbs::Call {
        name,
        args: args.into(),
        options: Vec::new(),
    }
}

impl Hbs {
    /// The same call with an option.
    #[must_use]
    pub fn with(mut self, option: &'static str, value: Self) -> Self {
        if let Self::Call { options, .. } = &mut self {
            options.push((option, value));
        }
        self
    }

    /// How many values and calls it is made of.
    pub fn size(&self) -> usize {
        match self {
            Self::Call { args, options, .. } => {
                let options = options.iter().map(|(_, value)| value);
                1 + args.iter().chain(options).map(Self::size).sum::<usize>()
            }
            _ => 1,
        }
    }

    /// Whether a helper is called anywhere in it.
    pub fn calls(&self, names: &[&str]) -> bool {
        match self {
            Self::Call { name, args, options } => {
                let options = options.iter().map(|(_, value)| value);
                names.contains(name) || args.iter().chain(options).any(|value| value.calls(names))
            }
            _ => false,
        }
    }
}

/// The blocks that a template opens. A block gets names for what it goes through only where an inner
/// one needs them.
#[derive(Debug, Default)]
pub struct Frames {
    frames: RefCell<Vec<Frame>>,
    taken: RefCell<Vec<String>>,
    trouble: RefCell<Option<Lack>>,
}

#[derive(Debug)]
struct Frame {
    hint: String,
    place_hint: String,
    name: Option<String>,
    place: Option<String>,
    /// What a partial is given: it has no name within an inner block.
    nameless: bool,
}

impl Frames {
    /// No block may take one of these names.
    pub fn new(taken: Vec<String>) -> Self {
        Self {
            taken: RefCell::new(taken),
            ..Self::default()
        }
    }

    /// A new block, whose names should be these.
    pub fn open(&self, hint: &str, place_hint: &str) -> usize {
        let mut frames = self.frames.borrow_mut();
        frames.push(Frame {
            hint: hint.to_owned(),
            place_hint: place_hint.to_owned(),
            name: None,
            place: None,
            nameless: false,
        });
        frames.len() - 1
    }

    /// What a partial is given.
    pub fn root(&self) -> usize {
        let frame = self.open("it", "index");
        self.frames.borrow_mut()[frame].nameless = true;
        frame
    }

    /// ` as |x i|`, if names are needed. To be asked when all inside of the block is written.
    pub fn names(&self, frame: usize) -> String {
        if self.frames.borrow()[frame].place.is_some() {
            self.name(frame);
        }
        let frames = self.frames.borrow();
        match (&frames[frame].name, &frames[frame].place) {
            (Some(name), Some(place)) => format!(" as |{name} {place}|"),
            (Some(name), None) => format!(" as |{name}|"),
            (None, _) => String::new(),
        }
    }

    fn free(&self, hint: &str) -> String {
        let mut taken = self.taken.borrow_mut();
        let mut name = hint.to_owned();
        let mut number = 2;
        while taken.contains(&name) {
            name = format!("{hint}{number}");
            number += 1;
        }
        taken.push(name.clone());
        name
    }

    fn name(&self, frame: usize) -> String {
        if self.frames.borrow()[frame].nameless {
            *self.trouble.borrow_mut() = Some(Lack::new(
                "what the template was given is used within another block",
                "give it a name there, by hand",
            ));
        }
        let known = self.frames.borrow()[frame].name.clone();
        known.unwrap_or_else(|| {
            let hint = self.frames.borrow()[frame].hint.clone();
            let name = self.free(&hint);
            self.frames.borrow_mut()[frame].name = Some(name.clone());
            name
        })
    }

    fn place(&self, frame: usize) -> String {
        let known = self.frames.borrow()[frame].place.clone();
        known.unwrap_or_else(|| {
            let hint = self.frames.borrow()[frame].place_hint.clone();
            let name = self.free(&hint);
            self.frames.borrow_mut()[frame].place = Some(name.clone());
            name
        })
    }

    /// What could not be written since this was asked last.
    pub fn trouble(&self) -> Option<Lack> {
        self.trouble.take()
    }

    /// An expression as an argument, where the innermost block is `inner`.
    pub fn argument(&self, value: &Hbs, inner: Option<usize>) -> String {
        match value {
            Hbs::Text(text) => quote(text),
            Hbs::Number(number) => number.clone(),
            Hbs::Bool(truth) => truth.to_string(),
            Hbs::This { frame, fields } => {
                let mut path = if inner == Some(*frame) {
                    "this".to_owned()
                } else {
                    self.name(*frame)
                };
                for field in fields {
                    path.push('.');
                    path.push_str(field);
                }
                path
            }
            Hbs::Place { frame } => self.place(*frame),
            Hbs::Call { .. } => format!("({})", self.bare(value, inner)),
        }
    }

    /// An expression as it stands between braces.
    pub fn bare(&self, value: &Hbs, inner: Option<usize>) -> String {
        let Hbs::Call { name, args, options } = value else {
            return match value {
                Hbs::Text(_) | Hbs::Number(_) | Hbs::Bool(_) => {
                    format!("concat {}", self.argument(value, inner))
                }
                other => self.argument(other, inner),
            };
        };
        if !crate::helpers::names().any(|known| known == *name) {
            *self.trouble.borrow_mut() = Some(Lack::new(
                format!("it needs a helper `{name}`, which this version does not have"),
                "have the value written as it is needed",
            ));
        }
        let mut text = (*name).to_owned();
        for arg in args {
            text.push(' ');
            text.push_str(&self.argument(arg, inner));
        }
        for (option, value) in options {
            text.push_str(&format!(" {option}={}", self.argument(value, inner)));
        }
        text
    }
}

/// A text in double quotes, with JSON's escapes.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
