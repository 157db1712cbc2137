//! Pipes and what they are made of.

use super::{Scope, Translator};
use crate::convert::functions::{self, Lack, Typed};
use crate::convert::go_parser::{Base, Pipe, Term};
use crate::convert::hbs::{Hbs, call};
use crate::convert::kinds::Kind;

impl Translator<'_> {
    /// A pipe where only true or false matters.
    pub(super) fn truth(&mut self, pipe: &Pipe, scope: &Scope, notes: &mut Vec<String>) -> Result<Typed, Lack> {
        let [command] = pipe.commands.as_slice() else {
            return self.pipe(pipe, scope, notes);
        };
        let name = match command.as_slice() {
            [
                Term {
                    base: Base::Function(name),
                    fields,
                },
                _,
                ..,
            ] if fields.is_empty() => name.as_str(),
            _ => return self.pipe(pipe, scope, notes),
        };
        let own = match name {
            "and" => "and",
            "or" => "or",
            "not" if command.len() == 2 => "not",
            _ => return self.pipe(pipe, scope, notes),
        };
        let mut args: Vec<Hbs> = Vec::new();
        for term in &command[1..] {
            let (value, _) = match &term.base {
                Base::Pipe(inner) if term.fields.is_empty() => self.truth(inner, scope, notes)?,
                _ => self.term(term, scope, notes)?,
            };
            // Go looks no further than it has to; here all is read, so a key that was asked for may
            // be absent.
            let value = if own == "and" { lenient(value, &args) } else { value };
            args.push(value);
        }
        let value = Hbs::Call {
            name: own,
            args,
            options: Vec::new(),
        };
        Ok((value, Kind::Bool))
    }

    pub(super) fn pipe(&mut self, pipe: &Pipe, scope: &Scope, notes: &mut Vec<String>) -> Result<Typed, Lack> {
        let mut last: Option<Typed> = None;
        for command in &pipe.commands {
            let [first, rest @ ..] = command.as_slice() else {
                return Err(Lack::new("a value is missing", "write it by hand"));
            };
            let function = match &first.base {
                Base::Function(name) if first.fields.is_empty() => Some(name.clone()),
                Base::Function(name) if name == "scratch" && first.fields.len() == 1 => {
                    Some(format!("{name}.{}", first.fields[0]))
                }
                _ => None,
            };
            last = Some(match function {
                Some(name) => {
                    let mut args = Vec::new();
                    for term in rest {
                        args.push(self.term(term, scope, notes)?);
                    }
                    args.extend(last);
                    functions::translate(&name, args, notes)?
                }
                None if rest.is_empty() && last.is_none() => self.term(first, scope, notes)?,
                None => return Err(Lack::new("a value is called like a function", "write it by hand")),
            });
        }
        last.ok_or_else(|| Lack::new("a value is missing", "write it by hand"))
    }

    fn term(&mut self, term: &Term, scope: &Scope, notes: &mut Vec<String>) -> Result<Typed, Lack> {
        let base = match &term.base {
            Base::Dot => scope
                .dot
                .clone()
                .ok_or_else(|| Lack::new("there is nothing that the dot stands for", "write it by hand"))?,
            Base::Variable(name) if name.is_empty() => scope
                .root
                .clone()
                .ok_or_else(|| Lack::new("there is nothing that `$` stands for", "write it by hand"))?,
            Base::Variable(name) => scope.var(name).cloned().ok_or_else(|| {
                Lack::new(
                    format!("`${name}` is set in a place that could not be translated"),
                    "write it by hand",
                )
            })?,
            Base::Function(name) if term.fields.is_empty() => functions::translate(name, Vec::new(), notes)?,
            Base::Function(name) => {
                return Err(Lack::new(format!("a field of `{name}` is used"), "write it by hand"));
            }
            Base::Text(text) => (Hbs::Text(text.clone()), Kind::Text),
            Base::Number(number) => (Hbs::Number(decimal(number)?), Kind::Number),
            Base::Bool(truth) => (Hbs::Bool(*truth), Kind::Bool),
            Base::Nil => return Err(Lack::new("`nil` has no counterpart", "write it by hand")),
            Base::Pipe(pipe) => self.pipe(pipe, scope, notes)?,
        };
        term.fields.iter().try_fold(base, |(value, kind), name| {
            let (field, kind) = kind.field(name).map_err(|why| Lack::new(why, "write it by hand"))?;
            let value = match value {
                Hbs::This { frame, mut fields } => {
                    fields.push(field);
                    Hbs::This { frame, fields }
                }
                other => call("lookup", [other, Hbs::Text(field)]),
            };
            Ok((value, kind))
        })
    }
}

/// A number that Handlebars reads the same.
fn decimal(number: &str) -> Result<String, Lack> {
    let digits = number.trim_start_matches(['+', '-']);
    let octal = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let simple = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    if octal || !simple {
        return Err(Lack::new(
            format!("`{number}` is not a plain decimal number"),
            "write it as one",
        ));
    }
    Ok(number.trim_start_matches('+').to_owned())
}

/// `(key "a")` where `(keyExists "a")` was asked before.
fn lenient(value: Hbs, before: &[Hbs]) -> Hbs {
    let Hbs::Call {
        name,
        args,
        mut options,
    } = value
    else {
        return value;
    };
    let asked = call("keyExists", [args.first().cloned().unwrap_or(Hbs::Bool(false))]);
    if name == "key" && options.is_empty() && before.contains(&asked) {
        options.push(("default", Hbs::Text(String::new())));
    }
    Hbs::Call {
        name,
        args: args.into_iter().map(|arg| lenient(arg, before)).collect(),
        options,
    }
}
