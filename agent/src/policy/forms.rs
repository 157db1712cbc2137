//! How choices are written in a file: as a flag would have them, or as a table or list.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use kvapi::duration;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor, value};

use super::{CommandLine, OnChange, Restart, Wait, signal};

/// What is made of one of several forms; those that are not overridden are errors.
trait Forms: FromStr<Err = String> {
    const EXPECTED: &'static str;

    fn from_list(_: Vec<String>) -> Option<Result<Self, String>> {
        None
    }

    fn from_table<'de, M: MapAccess<'de>>(table: M) -> Result<Self, M::Error> {
        drop(table);
        Err(M::Error::custom(format!(
            "a table does not fit here; expected {}",
            Self::EXPECTED
        )))
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Forms> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, list: S) -> Result<T, S::Error> {
        let words = Vec::deserialize(value::SeqAccessDeserializer::new(list))?;
        match T::from_list(words) {
            Some(made) => made.map_err(S::Error::custom),
            None => Err(S::Error::custom(format!(
                "a list does not fit here; expected {}",
                T::EXPECTED
            ))),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, table: M) -> Result<T, M::Error> {
        T::from_table(table)
    }
}

macro_rules! forms {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Reader(PhantomData))
            }
        }
    )*};
}
forms!(CommandLine, OnChange, Restart, Wait);

impl Forms for CommandLine {
    const EXPECTED: &'static str = "a command line, or a list of a program and its arguments";

    fn from_list(words: Vec<String>) -> Option<Result<Self, String>> {
        Some(Self::words(words))
    }
}

impl Forms for OnChange {
    const EXPECTED: &'static str = "none, restart, signal=HUP, command='nginx -s reload', \
        or a table such as { command = [\"nginx\", \"-s\", \"reload\"] }";

    fn from_table<'de, M: MapAccess<'de>>(table: M) -> Result<Self, M::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Table {
            Command(CommandLine),
            Signal(String),
        }
        match Table::deserialize(value::MapAccessDeserializer::new(table))? {
            Table::Command(command) => Ok(Self::Command(command)),
            Table::Signal(name) => signal(&name).map(Self::Signal).map_err(M::Error::custom),
        }
    }
}

impl Forms for Restart {
    const EXPECTED: &'static str = "never, always, on-failure or on-failure:5";
}

impl Forms for Wait {
    const EXPECTED: &'static str = "a wait such as \"2s\" or \"2s:10s\", or a table { min = \"2s\", max = \"10s\" }";

    fn from_table<'de, M: MapAccess<'de>>(table: M) -> Result<Self, M::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            min: String,
            max: Option<String>,
        }
        let Table { min, max } = Table::deserialize(value::MapAccessDeserializer::new(table))?;
        let read = |text: &str| -> Result<Duration, M::Error> { duration::parse(text).map_err(M::Error::custom) };
        let max = max.as_deref().map(read).transpose()?;
        Self::of(read(&min)?, max).map_err(M::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct One<T> {
        it: T,
    }

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
        toml::from_str::<One<T>>(&format!("it = {text}"))
            .map(|one| one.it)
            .map_err(|e| e.message().to_owned())
    }

    #[test]
    fn a_table_says_the_same_as_a_text() {
        assert_eq!(
            read::<Wait>("{ min = \"2s\", max = \"3s\" }").unwrap(),
            "2s:3s".parse().unwrap()
        );
        assert_eq!(read::<Wait>("{ min = \"2s\" }").unwrap(), read("\"2s\"").unwrap());
        assert_eq!(
            read::<OnChange>("{ signal = \"HUP\" }").unwrap(),
            read("\"signal=HUP\"").unwrap()
        );
        assert_eq!(
            read::<OnChange>("{ command = \"x y\" }").unwrap(),
            read("\"command=x y\"").unwrap()
        );
    }

    #[test]
    fn a_list_is_a_program_and_its_arguments() {
        let words = CommandLine::Words(vec!["x".into(), "y z".into()]);
        assert_eq!(read::<CommandLine>("[\"x\", \"y z\"]").unwrap(), words);
        assert_eq!(
            read::<OnChange>("{ command = [\"x\", \"y z\"] }").unwrap(),
            OnChange::Command(words)
        );
    }

    #[test]
    fn what_does_not_fit_says_what_does() {
        for (said, expected) in [
            (read::<Wait>("[\"2s\"]").unwrap_err(), "2s:10s"),
            (read::<Wait>("3").unwrap_err(), "2s:10s"),
            (
                read::<Wait>("{ min = \"3s\", max = \"1s\" }").unwrap_err(),
                "MIN <= MAX",
            ),
            (read::<CommandLine>("{ a = 1 }").unwrap_err(), "a list of a program"),
            (read::<CommandLine>("[]").unwrap_err(), "at least the name of a program"),
            (
                read::<OnChange>("{ reload = \"x\" }").unwrap_err(),
                "`command` or `signal`",
            ),
        ] {
            assert!(said.contains(expected), "{said}");
        }
    }
}
