//! Settings as a document: JSON, YAML, TOML, an environment file, or Consul's export. Pure.
//!
//! A value is bytes, and a document gives back the bytes that it was made of:
//!
//! - A folder is an object: `app/web/port` is `port` in `web` in `app`. A name may have slashes itself:
//!   `web/port: 80` in `app` is the same. A key that is a folder too stands beside its children so.
//! - A value is a text as it is written: `1.10`, `007` and `yes` stay what they are.
//! - What is no text, or has flags, is an object `{"$base64": "...", "$flags": 7}` or
//!   `{"$text": "...", "$flags": 7}`. A name that begins with `$` is written with two.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::ValueEnum;

pub(crate) use self::env::{is_name, line};

pub mod consul;
mod env;
mod json;
mod toml;
mod tree;
mod yaml;

/// The forms of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum As {
    /// What `consul kv export` prints: full keys, flags, base64
    Consul,
    /// An object, its folders objects
    Json,
    /// The same as YAML
    Yaml,
    /// The same as TOML
    Toml,
    /// Lines NAME=value, for a folder of names without slashes
    Env,
    /// A folder of files, one for each key
    Dir,
}

/// One setting in a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The whole key.
    pub key: String,
    /// Its value.
    pub value: Bytes,
    /// Its flags.
    pub flags: u64,
}

/// Why a text is not a document, or settings cannot be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// The line, from 1, if it is known.
    pub line: Option<usize>,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Bad {}

impl Bad {
    fn at(line: Option<usize>, what: impl Into<String>) -> Self {
        Self {
            line,
            what: what.into(),
        }
    }

    fn new(what: impl Into<String>) -> Self {
        Self::at(None, what)
    }
}

/// The document of these settings, in any order, each key once.
pub fn write(items: &[Item], form: As) -> Result<String, Bad> {
    match form {
        As::Consul => Ok(consul::write(items)),
        As::Json => Ok(json::write(&tree::build(items))),
        As::Yaml => Ok(crate::yaml::document(&tree::build(items))),
        As::Toml => toml::write(tree::build(items)),
        As::Env => env::write(items),
        As::Dir => Err(Bad::new("a folder of files is no single document")),
    }
}

/// The settings of this document, in byte order of their keys.
pub fn read(text: &str, form: As) -> Result<Vec<Item>, Bad> {
    let mut items = match form {
        As::Consul => consul::read(text.as_bytes())?,
        As::Json => tree::flatten(json::read(text)?)?,
        As::Yaml => tree::flatten(yaml::read(text)?)?,
        As::Toml => tree::flatten(toml::read(text)?)?,
        As::Env => env::read(text)?,
        As::Dir => return Err(Bad::new("a folder of files is no single document")),
    };
    items.sort();
    if let Some(twice) = items.windows(2).find(|pair| pair[0].key == pair[1].key) {
        return Err(Bad::new(format!("`{}` is there twice", twice[0].key)));
    }
    Ok(items)
}

/// Whether a text is good in this language, whatever it holds.
pub fn check(text: &str, form: As) -> Result<(), Bad> {
    match form {
        As::Json | As::Consul => json::check(text),
        As::Yaml => yaml::check(text),
        As::Toml => toml::read(text).map(drop),
        As::Env => env::read(text).map(drop),
        As::Dir => Ok(()),
    }
}

/// Bytes out of standard base64.
pub fn decode_base64(text: &[u8]) -> Result<Bytes, Bad> {
    let bytes = STANDARD.decode(text.trim_ascii());
    bytes
        .map(Bytes::from)
        .map_err(|e| Bad::new(format!("the value is not base64: {e}")))
}

/// Standard base64 of bytes.
#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(key: &str, value: &[u8], flags: u64) -> Item {
        Item {
            key: key.into(),
            value: Bytes::copy_from_slice(value),
            flags,
        }
    }

    fn round(items: &[Item], form: As) -> Vec<Item> {
        let text = write(items, form).unwrap();
        read(&text, form).unwrap_or_else(|e| panic!("{form:?}: {e}\n{text}"))
    }

    const FORMS: [As; 4] = [As::Consul, As::Json, As::Yaml, As::Toml];

    prop_compose! {
        fn any_item()(
            key in prop_oneof!["[a-c$]{1,2}(/[a-c$]{0,2}){0,4}", any::<String>()],
            value in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
                "[ a-z:#\\-\n\t\r'\"|>]{0,30}".prop_map(String::into_bytes),
                "(true|null|yes|~|1\\.10|0x1f|=|<<|- a|\\? a|\\.5|2020-01-01)".prop_map(String::into_bytes),
            ],
            flags in prop_oneof![4 => Just(0), 1 => any::<u64>()],
        ) -> Item {
            Item { key, value: value.into(), flags }
        }
    }

    fn any_items() -> impl Strategy<Value = Vec<Item>> {
        proptest::collection::vec(any_item(), 0..12).prop_map(|mut items| {
            items.sort();
            items.dedup_by(|a, b| a.key == b.key);
            items
        })
    }

    proptest! {
        #[test]
        fn every_setting_comes_back_from_every_form(items in any_items()) {
            for form in FORMS {
                prop_assert_eq!(round(&items, form), items.clone(), "{:?}\n{}", form, write(&items, form).unwrap());
            }
        }

        #[test]
        fn an_environment_file_gives_back_what_it_takes(
            pairs in proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,5}", any::<String>(), 0..6),
        ) {
            let items: Vec<Item> = pairs.iter().map(|(name, value)| item(name, value.as_bytes(), 0)).collect();
            match write(&items, As::Env) {
                Ok(text) => prop_assert_eq!(read(&text, As::Env).unwrap(), items, "{}", text),
                Err(bad) => prop_assert!(pairs.values().any(|value| value.contains('\0')), "{}", bad),
            }
        }

        #[test]
        fn no_text_upsets_a_reader(text in any::<String>()) {
            for form in [As::Consul, As::Json, As::Yaml, As::Toml, As::Env] {
                let _ = read(&text, form);
            }
        }
    }

    #[test]
    fn deep_and_long_keys_come_back() {
        let deep = "a/".repeat(4_000);
        let long = "k".repeat(8_000);
        let items = [item(&deep, b"1", 0), item(&long, b"2", 0)];

        for form in FORMS {
            assert_eq!(round(&items, form), items, "{form:?}");
        }
    }

    #[test]
    fn a_folder_is_an_object_and_a_key_that_is_a_folder_too_stands_beside_its_children() {
        let items = [
            item("app", b"x", 0),
            item("app/port", b"80", 0),
            item("web/cert", b"\xff", 7),
            item("web/host", b"a.b", 0),
        ];

        assert_eq!(
            write(&items, As::Yaml).unwrap(),
            "app: x\napp/port: \"80\"\nweb:\n  cert:\n    \"$base64\": /w==\n    \"$flags\": 7\n  host: a.b\n"
        );
    }

    #[test]
    fn a_value_is_the_text_as_it_is_written() {
        let expected = [item("a", b"1.10", 0), item("b/c", b"yes", 0), item("b/d", b"007", 0)];

        let read = |text: &str, form| read(text, form).unwrap();

        assert_eq!(read("a: 1.10\nb:\n  c: yes # not true\n  d: 007\n", As::Yaml), expected);
        let toml = [item("a", b"1.10", 0), item("b/c", b"true", 0), item("b/d", b"1_000", 0)];
        assert_eq!(read("a = 1.10\n[b]\nc = true\nd = 1_000\n", As::Toml), toml);
        let json = [item("a", b"-5", 0), item("b", b"true", 0)];
        assert_eq!(read("{\"a\": -5, \"b\": true}", As::Json), json);
        let env = [item("A", b"1 2", 0), item("B", b"x", 0), item("C", b"", 0)];
        assert_eq!(read("# c\nexport A='1 2'\nB=x # y\nC=\n", As::Env), env);
        assert_eq!(read("k: !!binary AP8=\n", As::Yaml), [item("k", b"\0\xff", 0)]);
    }

    #[test]
    fn what_is_no_value_is_refused_with_its_place() {
        for (text, form, said) in [
            ("a: 1\nb: [1, 2]\n", As::Yaml, "line 2: `b` is a list"),
            ("a:\nb: 1\n", As::Yaml, "line 1: `a` has no value"),
            ("a: 1\n b: 2\n", As::Yaml, "line 2: "),
            ("a: 1\na: 2\n", As::Yaml, "`a` is there twice"),
            ("a/b: 1\na:\n  b: 2\n", As::Yaml, "`a/b` is there twice"),
            ("a: {$bas64: x}\n", As::Yaml, "line 1: `a` has the name `$bas64`"),
            ("a: {$base64: '!'}\n", As::Yaml, "line 1: `a` is not base64"),
            ("a: &x 1\nb: *x\n", As::Yaml, "line 2: "),
            ("- a\n", As::Yaml, "line 1: the document is a list"),
            ("{\"a\": 1.10}", As::Json, "line 1: "),
            ("{\"a\": null}", As::Json, "`a` has no value"),
            ("{\"a\": \"1\", \"a\": \"2\"}", As::Json, "`a` is there twice"),
            ("{\"a\"", As::Json, "line 1: "),
            ("a = 1\nb = [1]\n", As::Toml, "line 2: `b` is a list"),
            ("a = \n", As::Toml, "line 1: "),
            ("A=1\nB C\n", As::Env, "line 2: "),
            ("A=$B\n", As::Env, "line 1: "),
            ("A='x\n", As::Env, "line 1: "),
        ] {
            let bad = read(text, form).unwrap_err().to_string();
            assert!(bad.starts_with(said), "{text}: {bad}");
        }
    }

    #[test]
    fn what_an_environment_file_cannot_hold_is_refused_by_name() {
        for (bad, why) in [
            (item("a/b", b"1", 0), "`a/b`"),
            (item("A", b"\xff", 0), "`A`"),
            (item("A", b"1", 7), "`A`"),
        ] {
            let said = write(&[bad], As::Env).unwrap_err().to_string();
            assert!(said.starts_with(why), "{said}");
        }
    }
}
