//! A transaction as flags: conditions, then what is done, in the order of the command line.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use kvapi::problem::exit;
use kvapi::types::TxnOp;
use kvapi::{Key, Problem};

use crate::value::Source;

/// What must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// `rev(KEY)=N`
    Revision(Key, u64),
    /// `missing(KEY)`
    Missing(Key),
    /// `exists(KEY)`
    Exists(Key),
    /// `value(KEY)=VALUE`
    Value(Key, Source),
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Write {
    Put(Key, Source),
    Delete(Key),
}

/// All flags of this kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Steps {
    /// Each with the text that it was typed as.
    pub(super) conditions: Vec<(String, Condition)>,
    pub(super) writes: Vec<Write>,
    pub(super) else_get: Vec<Key>,
}

impl Steps {
    fn parse(flag: &str, text: &str, steps: &mut Self) -> Result<(), Problem> {
        match flag {
            "if" => steps.conditions.push((text.to_owned(), text.parse()?)),
            "put" => {
                let pair = text.split_once('=');
                let (key, value) = pair.ok_or_else(|| {
                    usage(
                        format!("`--put {text}` has no value"),
                        "write --put KEY=VALUE, KEY=@FILE or KEY=-",
                    )
                })?;
                steps
                    .writes
                    .push(Write::Put(crate::kv::key(key)?, Source::parse(Some(value))));
            }
            "delete" => steps.writes.push(Write::Delete(crate::kv::key(text)?)),
            _ => steps.else_get.push(crate::kv::key(text)?),
        }
        Ok(())
    }
}

impl std::str::FromStr for Condition {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let wrong = || {
            usage(
                format!("`{text}` is no condition"),
                "write rev(KEY)=N, value(KEY)=VALUE, exists(KEY) or missing(KEY)",
            )
        };
        let (name, rest) = text.split_once('(').ok_or_else(wrong)?;
        match name {
            "rev" | "value" => {
                let (key, value) = rest.split_once(")=").ok_or_else(wrong)?;
                let key = crate::kv::key(key)?;
                if name == "value" {
                    // It is read by itself first.
                    crate::kv::in_path(key.as_str())?;
                    return Ok(Self::Value(key, Source::parse(Some(value))));
                }
                let revision = value.parse();
                Ok(Self::Revision(key, revision.map_err(|_| wrong())?))
            }
            "missing" | "exists" => {
                let key = crate::kv::key(rest.strip_suffix(')').ok_or_else(wrong)?)?;
                Ok(if name == "missing" {
                    Self::Missing(key)
                } else {
                    Self::Exists(key)
                })
            }
            _ => Err(wrong()),
        }
    }
}

impl Condition {
    /// The operation that checks it; a value is compared by whoever read it, and then its revision checked.
    pub(super) fn op(&self) -> Option<TxnOp> {
        match self {
            Self::Revision(key, revision) => Some(at_revision(key, *revision)),
            Self::Missing(key) => Some(TxnOp::new("check-not-exists", key.as_str())),
            Self::Exists(key) => Some(TxnOp::new("get", key.as_str())),
            Self::Value(..) => None,
        }
    }
}

/// Revision 0 is what a key has that is not there, as in `cas`.
pub(super) fn at_revision(key: &Key, revision: u64) -> TxnOp {
    let verb = if revision == 0 {
        "check-not-exists"
    } else {
        "check-index"
    };
    TxnOp {
        index: revision,
        ..TxnOp::new(verb, key.as_str())
    }
}

impl Write {
    pub(super) fn op(&self) -> Result<TxnOp, Problem> {
        Ok(match self {
            Self::Put(key, source) => TxnOp::set(key.as_str(), source.clone().read()?),
            Self::Delete(key) => TxnOp::new("delete", key.as_str()),
        })
    }
}

fn usage(what: String, help: &str) -> Problem {
    Problem::new(exit::USAGE, what).help(help)
}

/// The flags: id, what stands for the value, help.
const FLAGS: [(&str, &str, &str); 4] = [
    (
        "if",
        "CONDITION",
        "Only if this holds: rev(KEY)=N, value(KEY)=VALUE, exists(KEY) or missing(KEY); all are checked before anything is done",
    ),
    (
        "put",
        "KEY=VALUE",
        "Store a value; KEY=@FILE and KEY=- are a file and standard input",
    ),
    ("delete", "KEY", "Delete a key"),
    (
        "else-get",
        "KEY",
        "If a condition does not hold, print this key as it is then",
    ),
];

impl Args for Steps {
    fn augment_args(command: Command) -> Command {
        FLAGS.into_iter().fold(command, |command, (name, value, help)| {
            let arg = Arg::new(name).long(name).value_name(value).help(help);
            command.arg(
                arg.action(ArgAction::Append)
                    .allow_hyphen_values(true)
                    .conflicts_with("body"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Steps {
    /// By where each flag stands, whatever its name.
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags: Vec<(usize, &str, &String)> = Vec::new();
        for (name, ..) in FLAGS {
            let texts = matches.get_many::<String>(name).into_iter().flatten();
            let places = matches.indices_of(name).into_iter().flatten();
            flags.extend(places.zip(texts).map(|(place, text)| (place, name, text)));
        }
        flags.sort_by_key(|(place, ..)| *place);
        let mut steps = Self::default();
        for (_, name, text) in flags {
            Self::parse(name, text, &mut steps).map_err(|problem| {
                let help = problem
                    .help
                    .first()
                    .map_or_else(String::new, |help| format!("\n  help: {help}"));
                clap::Error::raw(
                    clap::error::ErrorKind::ValueValidation,
                    format!("{}{help}\n", problem.what),
                )
            })?;
        }
        Ok(steps)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn each_condition_is_one_operation() {
        for (text, verb, index) in [
            ("rev(a/b)=12", "check-index", 12),
            ("rev(a/b)=0", "check-not-exists", 0),
            ("missing(a/b)", "check-not-exists", 0),
            ("exists(a/b)", "get", 0),
        ] {
            let op = text.parse::<Condition>().unwrap().op().unwrap();
            assert_eq!(
                (op.verb.as_str(), op.key.as_str(), op.index),
                (verb, "a/b", index),
                "{text}"
            );
        }
        let value = "value(a)=x)=y".parse::<Condition>().unwrap();
        assert_eq!(value, Condition::Value(key("a"), Source::Literal("x)=y".into())));
        for text in ["", "rev(a)", "rev(a)=x", "missing(a", "mising(a)", "rev()=1", "a=1"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }

    #[test]
    fn flags_keep_their_order() {
        let command = Steps::augment_args(Command::new("txn").arg(Arg::new("body")));
        let line = "txn --put a=1 --if missing(b) --delete c --put d=x=y --else-get a --put e=-5";
        let matches = command.try_get_matches_from(line.split(' ')).unwrap();

        let steps = Steps::from_arg_matches(&matches).unwrap();

        let text = |text: &str| Source::Literal(text.into());
        assert_eq!(
            steps.writes,
            [
                Write::Put(key("a"), text("1")),
                Write::Delete(key("c")),
                Write::Put(key("d"), text("x=y")),
                Write::Put(key("e"), text("-5")),
            ]
        );
        assert_eq!(steps.conditions[0].1, Condition::Missing(key("b")));
        assert_eq!(steps.else_get, [key("a")]);
    }
}
