//! MessagePack as Consul writes it: an older form of it, in which bytes are texts. Read piece by piece; nothing is
//! believed of a length before so much has come.

use std::io::{self, Read};

use rmp::Marker;

/// The longest text that is taken. Consul's longest value is far below.
const MOST: u64 = 64 << 20;

/// How deep lists and maps may be.
const DEPTH: u32 = 64;

/// A value, as far as anybody wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Nil,
    Number(u64),
    /// Bytes, or a text: nobody can tell.
    Bytes(Vec<u8>),
    /// What was read and is of no use here.
    Other,
}

/// What is no MessagePack, or more than can be.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadPack {
    #[error("it ends in the middle of a record")]
    Ends,
    #[error("a record is not what it should be: {0}")]
    Form(&'static str),
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for BadPack {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ends,
            _ => Self::Io(e),
        }
    }
}

/// See the module.
pub(super) struct Pack<R> {
    inner: R,
    /// Bytes that were read.
    pub(super) at: u64,
}

impl<R: Read> Pack<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { inner, at: 0 }
    }

    /// The next byte; `None` at the end.
    pub(super) fn byte(&mut self) -> Result<Option<u8>, BadPack> {
        let mut byte = [0];
        loop {
            match self.inner.read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => {
                    self.at += 1;
                    return Ok(Some(byte[0]));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A map whose values are given out by name, as far as they are no lists or maps.
    pub(super) fn map(&mut self, mut field: impl FnMut(&[u8], Value)) -> Result<(), BadPack> {
        let length = match self.marker()? {
            Marker::FixMap(length) => u64::from(length),
            Marker::Map16 => self.number(2)?,
            Marker::Map32 => self.number(4)?,
            _ => return Err(BadPack::Form("it is no map")),
        };
        for _ in 0..length {
            let Value::Bytes(name) = self.value(DEPTH)? else {
                return Err(BadPack::Form("a name in it is no text"));
            };
            let value = self.value(DEPTH)?;
            field(&name, value);
        }
        Ok(())
    }

    /// Any value, read and not kept.
    pub(super) fn skip(&mut self) -> Result<(), BadPack> {
        self.value(DEPTH).map(drop)
    }

    fn value(&mut self, depth: u32) -> Result<Value, BadPack> {
        let number = |number: i64| u64::try_from(number).map_or(Value::Other, Value::Number);
        Ok(match self.marker()? {
            Marker::Null => Value::Nil,
            Marker::True | Marker::False => Value::Other,
            Marker::FixPos(n) => Value::Number(u64::from(n)),
            Marker::FixNeg(_) => Value::Other,
            Marker::U8 => Value::Number(self.number(1)?),
            Marker::U16 => Value::Number(self.number(2)?),
            Marker::U32 => Value::Number(self.number(4)?),
            Marker::U64 => Value::Number(self.number(8)?),
            Marker::I8 => number(i64::from(self.number(1)? as u8 as i8)),
            Marker::I16 => number(i64::from(self.number(2)? as u16 as i16)),
            Marker::I32 => number(i64::from(self.number(4)? as u32 as i32)),
            Marker::I64 => number(self.number(8)? as i64),
            Marker::F32 => self.pass(4)?,
            Marker::F64 => self.pass(8)?,
            Marker::FixStr(length) => self.bytes(u64::from(length))?,
            Marker::Str8 | Marker::Bin8 => self.long(1)?,
            Marker::Str16 | Marker::Bin16 => self.long(2)?,
            Marker::Str32 | Marker::Bin32 => self.long(4)?,
            Marker::FixArray(length) => self.pass_values(u64::from(length), depth)?,
            Marker::Array16 => self.many(2, 1, depth)?,
            Marker::Array32 => self.many(4, 1, depth)?,
            Marker::FixMap(length) => self.pass_values(u64::from(length) * 2, depth)?,
            Marker::Map16 => self.many(2, 2, depth)?,
            Marker::Map32 => self.many(4, 2, depth)?,
            // The kind of an extension is one byte more.
            Marker::FixExt1 => self.pass(2)?,
            Marker::FixExt2 => self.pass(3)?,
            Marker::FixExt4 => self.pass(5)?,
            Marker::FixExt8 => self.pass(9)?,
            Marker::FixExt16 => self.pass(17)?,
            Marker::Ext8 => self.extension(1)?,
            Marker::Ext16 => self.extension(2)?,
            Marker::Ext32 => self.extension(4)?,
            Marker::Reserved => return Err(BadPack::Form("it has a byte in it that means nothing")),
        })
    }

    fn marker(&mut self) -> Result<Marker, BadPack> {
        self.byte()?.map(Marker::from_u8).ok_or(BadPack::Ends)
    }

    /// A number of so many bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, BadPack> {
        let mut number = [0; 8];
        self.inner.read_exact(&mut number[8 - bytes..])?;
        self.at += bytes as u64;
        Ok(u64::from_be_bytes(number))
    }

    fn long(&mut self, bytes: usize) -> Result<Value, BadPack> {
        let length = self.number(bytes)?;
        self.bytes(length)
    }

    fn bytes(&mut self, length: u64) -> Result<Value, BadPack> {
        if length > MOST {
            return Err(BadPack::Form("a text in it is too long"));
        }
        // As it comes: what a damaged length asks for is not there.
        let mut bytes = Vec::new();
        let read = self.inner.by_ref().take(length).read_to_end(&mut bytes)? as u64;
        self.at += read;
        if read < length {
            return Err(BadPack::Ends);
        }
        bytes.shrink_to_fit();
        Ok(Value::Bytes(bytes))
    }

    fn pass(&mut self, length: u64) -> Result<Value, BadPack> {
        let read = io::copy(&mut self.inner.by_ref().take(length), &mut io::sink())?;
        self.at += read;
        if read < length {
            Err(BadPack::Ends)
        } else {
            Ok(Value::Other)
        }
    }

    fn extension(&mut self, bytes: usize) -> Result<Value, BadPack> {
        let length = self.number(bytes)?;
        self.pass(length + 1)
    }

    fn many(&mut self, bytes: usize, times: u64, depth: u32) -> Result<Value, BadPack> {
        let length = self.number(bytes)?;
        self.pass_values(length * times, depth)
    }

    fn pass_values(&mut self, count: u64, depth: u32) -> Result<Value, BadPack> {
        let depth = depth.checked_sub(1).ok_or(BadPack::Form("it goes too deep"))?;
        for _ in 0..count {
            self.value(depth)?;
        }
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn nothing_at_all_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut pack = Pack::new(&*bytes);
            while pack.skip().is_ok() {}
            let _ = Pack::new(&*bytes).map(|_, _| {});
        }
    }

    #[test]
    fn what_is_not_wanted_is_passed_over_to_its_last_byte() {
        let value = json!({"a": [1, -7, 3.5, null, true, {"b": "x".repeat(70_000)}], "n": 1_u64 << 40, "t": "text", "l": vec![0; 20]});
        let mut bytes = rmp_serde::to_vec_named(&value).unwrap();
        bytes.extend([0xd4, 1, 2, 0xc7, 3, 1, 0, 0, 0, 42]);
        let mut pack = Pack::new(&*bytes);
        let mut found = Vec::new();

        pack.map(|name, value| found.push((String::from_utf8_lossy(name).into_owned(), value)))
            .unwrap();

        let of = |name: &str| {
            found
                .iter()
                .find(|(found, _)| found == name)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(of("a"), Some(Value::Other));
        assert_eq!(of("n"), Some(Value::Number(1 << 40)));
        assert_eq!(of("t"), Some(Value::Bytes(b"text".to_vec())));
        assert!(pack.skip().is_ok() && pack.skip().is_ok());
        assert_eq!(pack.byte().unwrap(), Some(42));
        assert_eq!(pack.at, bytes.len() as u64);
        for cut in 0..bytes.len() - 1 {
            let mut pack = Pack::new(&bytes[..cut]);
            let whole = pack.skip().and_then(|()| pack.skip()).and_then(|()| pack.skip());
            assert!(matches!(whole, Err(BadPack::Ends)), "{cut}");
        }
    }

    #[test]
    fn a_list_in_a_list_in_a_list_without_end_is_refused() {
        assert!(matches!(Pack::new(&[0x91; 1000][..]).skip(), Err(BadPack::Form(_))));
        assert!(matches!(
            Pack::new(&[0xdb, 0xff, 0xff, 0xff, 0xff][..]).skip(),
            Err(BadPack::Form(_))
        ));
    }
}
