//! What Go's templates bring along.

use super::{BY_HAND, Lack, Typed};
use crate::convert::hbs::{Hbs, call};
use crate::convert::kinds::Kind;

/// What Go's templates bring along and what takes any number of values.
pub(super) fn builtin(name: &str, values: Vec<Hbs>, kinds: &[Kind]) -> Result<Typed, Lack> {
    let many = |name: &'static str, args: Vec<Hbs>| Hbs::Call {
        name,
        args,
        options: Vec::new(),
    };
    let few = || Lack::new(format!("`{name}` has too few arguments"), BY_HAND);
    match name {
        "not" => match <[Hbs; 1]>::try_from(values) {
            Ok(value) => Ok((call("not", value), Kind::Bool)),
            Err(_) => Err(few()),
        },
        "and" | "or" => {
            let own = if name == "and" { "and" } else { "or" };
            match values.len() {
                0 => Err(few()),
                _ if kinds.iter().all(|kind| *kind == Kind::Bool) => Ok((many(own, values), Kind::Bool)),
                _ if own == "or" && kinds.iter().all(|kind| *kind == Kind::Text) => {
                    let mut rest = values.into_iter().rev();
                    let last = rest.next().ok_or_else(few)?;
                    Ok((rest.fold(last, |else_, one| call("default", [one, else_])), Kind::Text))
                }
                _ => Err(Lack::new(
                    format!("`{name}` gives one of its values in Go, and true or false here"),
                    "choose with {{#if}}",
                )),
            }
        }
        "eq" if values.len() > 2 => {
            let mut rest = values.into_iter();
            let first = rest.next().ok_or_else(few)?;
            let each = rest.map(|one| call("eq", [first.clone(), one])).collect();
            Ok((many("or", each), Kind::Bool))
        }
        "print" => match kinds.iter().all(|kind| *kind == Kind::Text) {
            true => Ok((many("concat", values), Kind::Text)),
            false => Err(Lack::new("`print` puts spaces between what are no texts", "use concat")),
        },
        "printf" => {
            let mut values = values.into_iter();
            match values.next() {
                Some(Hbs::Text(format)) => formatted(&format, values.collect(), &kinds[1..]),
                _ => Err(Lack::new("the format of this `printf` is computed", "use concat")),
            }
        }
        _ => {
            let own = match name {
                "eq" => "eq",
                "ne" => "ne",
                "lt" => "lt",
                "le" => "lte",
                "gt" => "gt",
                _ => "gte",
            };
            let known = |kind: &Kind| matches!(kind, Kind::Text | Kind::Number | Kind::Bool);
            if let [a, b] = kinds
                && known(a)
                && known(b)
                && a != b
            {
                return Err(Lack::new(
                    format!("`{name}` compares two kinds of values, which fails in Go"),
                    BY_HAND,
                ));
            }
            match <[Hbs; 2]>::try_from(values) {
                Ok(pair) => Ok((call(own, pair), Kind::Bool)),
                Err(_) => Err(few()),
            }
        }
    }
}

/// `printf` where it only puts texts and whole numbers together.
fn formatted(format: &str, values: Vec<Hbs>, kinds: &[Kind]) -> Result<Typed, Lack> {
    let no = |verb: &str| {
        Lack::new(
            format!("`{verb}` of this `printf` has no counterpart"),
            "use concat, or put the text into the key",
        )
    };
    let mut args = Vec::new();
    let mut text = String::new();
    let mut given = values.into_iter().zip(kinds);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let verb = chars.next().ok_or_else(|| no("%"))?;
        if verb == '%' {
            text.push('%');
            continue;
        }
        let (value, kind) = given.next().ok_or_else(|| no(&format!("%{verb}")))?;
        let fits = match verb {
            's' => *kind == Kind::Text,
            'd' => *kind == Kind::Number,
            'v' => matches!(kind, Kind::Text | Kind::Number | Kind::Bool),
            't' => *kind == Kind::Bool,
            _ => false,
        };
        if !fits {
            return Err(no(&format!("%{verb}")));
        }
        if !text.is_empty() {
            args.push(Hbs::Text(std::mem::take(&mut text)));
        }
        args.push(value);
    }
    if given.next().is_some() {
        return Err(no(format));
    }
    if !text.is_empty() || args.is_empty() {
        args.push(Hbs::Text(text));
    }
    let value = Hbs::Call {
        name: "concat",
        args,
        options: Vec::new(),
    };
    Ok((value, Kind::Text))
}
