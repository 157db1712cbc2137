//! Consul's export: a JSON list of `{"key": ..., "flags": ..., "value": base64}`, read and written in
//! pieces, so that a million of them need no memory.

use bytes::Bytes;
use serde::Deserialize;

use super::json::without_place;
use super::{Bad, Item, decode_base64, encode_base64};

/// How many bytes one object may have. A value of 512 KiB has 700 KiB as base64.
const LONGEST: usize = 64 << 20;

/// Cuts a JSON list into its objects, whatever pieces it comes in.
#[derive(Debug, Default)]
pub struct Pieces {
    /// The object that has begun.
    object: Vec<u8>,
    depth: usize,
    in_text: bool,
    escaped: bool,
    place: Place,
    line: usize,
    /// The line in which the object began.
    begun: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    BeforeList,
    /// Where an object or the end may come.
    AtFirst,
    /// Behind a comma.
    BeforeObject,
    InObject,
    BehindObject,
    BehindList,
}

impl Pieces {
    /// Takes the next bytes; `found` gets each whole object and the line in which it began.
    pub fn push<E: From<Bad>>(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for &byte in bytes {
            self.line += usize::from(byte == b'\n');
            if self.place == Place::InObject {
                self.object.push(byte);
                if self.ends(byte) {
                    self.place = Place::BehindObject;
                    found(self.begun, &self.object)?;
                    self.object.clear();
                } else if self.object.len() > LONGEST {
                    return Err(Bad::at(Some(self.begun), "an object does not end").into());
                }
                continue;
            }
            self.place = match (self.place, byte) {
                (place, b' ' | b'\n' | b'\r' | b'\t') => place,
                (Place::BeforeList, b'[') => Place::AtFirst,
                (Place::AtFirst | Place::BehindObject, b']') => Place::BehindList,
                (Place::BehindObject, b',') => Place::BeforeObject,
                (Place::AtFirst | Place::BeforeObject, b'{') => {
                    self.begun = self.line + 1;
                    self.depth = 1;
                    self.object.push(byte);
                    Place::InObject
                }
                (_, byte) => return Err(self.unexpected(char::from(byte)).into()),
            };
        }
        Ok(())
    }

    /// Whether all that was begun has ended.
    pub fn finish(&self) -> Result<(), Bad> {
        match self.place {
            Place::BehindList => Ok(()),
            Place::BeforeList => Err(Bad::new("there is nothing; an export is at least []")),
            _ => Err(Bad::at(
                Some(self.line + 1),
                "the list ends in the middle; is the file whole?",
            )),
        }
    }

    /// Whether this byte ends the object.
    fn ends(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_text => self.escaped = true,
            b'"' => self.in_text = !self.in_text,
            b'{' if !self.in_text => self.depth += 1,
            b'}' if !self.in_text => self.depth -= 1,
            _ => {}
        }
        self.depth == 0
    }

    fn unexpected(&self, found: char) -> Bad {
        let expected = match self.place {
            Place::BeforeList => "a list, [",
            Place::AtFirst | Place::BeforeObject => "an object, {",
            Place::InObject | Place::BehindObject => "a comma or ]",
            Place::BehindList => "nothing more",
        };
        let what = format!("`{found}` is here, and {expected} should be; this is not Consul's export");
        Bad::at(Some(self.line + 1), what)
    }
}

/// An object of the list.
pub fn parse(line: usize, object: &[u8]) -> Result<Item, Bad> {
    // Go, which wrote it, does not mind the case of names.
    #[derive(Deserialize)]
    struct Exported {
        #[serde(alias = "Key")]
        key: String,
        #[serde(default, alias = "Flags")]
        flags: u64,
        #[serde(default, alias = "Value")]
        value: Option<String>,
    }
    let exported: Exported = serde_json::from_slice(object).map_err(|e| {
        let line = line + e.line() - 1;
        Bad::at(Some(line), without_place(&e.to_string()))
    })?;
    let value = match exported.value {
        None => Bytes::new(),
        Some(text) => decode_base64(text.as_bytes())
            .map_err(|e| Bad::at(Some(line), format!("`{}`: {}", exported.key, e.what)))?,
    };
    Ok(Item {
        key: exported.key,
        value,
        flags: exported.flags,
    })
}

/// An object as Consul writes it; `is_first` if none was written before.
pub fn object(item: &Item, is_first: bool) -> String {
    let comma = if is_first { "" } else { "," };
    let key = serde_json::Value::from(item.key.as_str());
    format!(
        "{comma}\n\t{{\n\t\t\"key\": {key},\n\t\t\"flags\": {},\n\t\t\"value\": \"{}\"\n\t}}",
        item.flags,
        encode_base64(&item.value)
    )
}

pub const BEGIN: &str = "[";

/// What ends the list.
pub fn end(is_empty: bool) -> &'static str {
    if is_empty { "]\n" } else { "\n]\n" }
}

pub(super) fn write(items: &[Item]) -> String {
    let objects = items.iter().enumerate().map(|(i, item)| object(item, i == 0));
    let objects: String = objects.collect();
    format!("{BEGIN}{objects}{}", end(items.is_empty()))
}

pub(super) fn read(text: &[u8]) -> Result<Vec<Item>, Bad> {
    let mut items = Vec::new();
    let mut pieces = Pieces::default();
    pieces.push(text, |line, object| {
        items.push(parse(line, object)?);
        Ok::<(), Bad>(())
    })?;
    pieces.finish()?;
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(key: &str, value: &'static [u8]) -> Item {
        Item {
            key: key.into(),
            value: Bytes::from_static(value),
            flags: 7,
        }
    }

    #[test]
    fn it_is_written_as_consul_writes_it() {
        let items = [item("a/b", b"x"), item("c", b"")];

        assert_eq!(
            write(&items),
            "[\n\t{\n\t\t\"key\": \"a/b\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"eA==\"\n\t},\n\t{\n\t\t\"key\": \"c\",\n\t\t\"flags\": 7,\n\t\t\"value\": \"\"\n\t}\n]\n"
        );
        assert_eq!(write(&[]), "[]\n");
    }

    #[test]
    fn the_answer_of_the_api_is_an_export_too() {
        let api = br#"[{"LockIndex":0,"Key":"a","Flags":7,"Value":null,"CreateIndex":2,"ModifyIndex":3}]"#;

        assert_eq!(read(api).unwrap(), [item("a", b"")]);
    }

    #[test]
    fn what_is_no_export_is_refused_with_its_line() {
        for (text, said) in [
            ("a: 1", "line 1: `a` is here, and a list"),
            ("", "there is nothing"),
            ("[\n{\"key\":\"a\"}\n", "line 3: the list ends"),
            ("[{\"key\":\"a\"} {", "line 1: `{` is here, and a comma"),
            ("[\n\n{\"key\":\n7}]", "line 4: "),
            ("[{}]", "line 1: missing field `key`"),
            (
                "[{\"key\":\"a\",\"value\":\"!\"}]",
                "line 1: `a`: the value is not base64",
            ),
            ("[] x", "line 1: `x` is here"),
        ] {
            let bad = read(text.as_bytes()).unwrap_err().to_string();
            assert!(bad.starts_with(said), "{text}: {bad}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_it_comes_do_not_matter(
            keys in proptest::collection::vec("[a\"{}\\[\\]\\\\é,/]{1,8}", 0..6),
            size in 1_usize..40,
        ) {
            let items: Vec<Item> = keys.iter().map(|key| item(key, b"v")).collect();
            let text = write(&items);
            let mut pieces = Pieces::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                pieces.push(piece, |line, object| {
                    found.push(parse(line, object)?);
                    Ok::<(), Bad>(())
                }).unwrap();
            }
            pieces.finish().unwrap();
            prop_assert_eq!(found, items);
        }
    }
}
