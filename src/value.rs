//! How a value is written on the command line: `VALUE`, `@FILE`, `-`, `@@x`.

use std::fs;
use std::io::Read;

use agent::document;
pub(crate) use agent::document::encode_base64;
use bytes::Bytes;
use kvapi::Problem;
use kvapi::problem::exit;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The text itself.
    Literal(String),
    /// A file, byte for byte.
    File(String),
    /// Standard input, byte for byte.
    Stdin,
}

impl Source {
    /// `@FILE` is a file, `-` standard input, `@@x` the text `@x`, all else itself; nothing at all
    /// is the empty text.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default();
        match text.strip_prefix('@') {
            Some(rest) if rest.starts_with('@') => Self::Literal(rest.to_owned()),
            Some(path) => Self::File(path.to_owned()),
            None if text == "-" => Self::Stdin,
            None => Self::Literal(text.to_owned()),
        }
    }

    /// The bytes.
    pub(crate) fn read(self) -> Result<Bytes, Problem> {
        match self {
            Self::Literal(text) => Ok(text.into()),
            Self::File(path) => fs::read(&path).map(Bytes::from).map_err(|e| {
                Problem::new(exit::INVALID, format!("read the value from `{path}`: {e}"))
                    .help(format!("for the text `@{path}` itself, write `@@{path}`"))
            }),
            Self::Stdin => {
                let mut value = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut value)
                    .map_err(|e| Problem::new(exit::INVALID, format!("read the value from standard input: {e}")))?;
                Ok(value.into())
            }
        }
    }
}

/// Bytes out of standard base64.
pub(crate) fn decode_base64(text: &[u8]) -> Result<Bytes, Problem> {
    document::decode_base64(text).map_err(|bad| Problem::new(exit::INVALID, bad.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_means_one_thing() {
        for (text, source) in [
            ("8080", Source::Literal("8080".into())),
            ("-5", Source::Literal("-5".into())),
            ("", Source::Literal(String::new())),
            ("-", Source::Stdin),
            ("@a.json", Source::File("a.json".into())),
            ("@@home", Source::Literal("@home".into())),
            ("@@@x", Source::Literal("@@x".into())),
            ("a@b", Source::Literal("a@b".into())),
        ] {
            assert_eq!(Source::parse(Some(text)), source, "{text}");
        }
        assert_eq!(Source::parse(None), Source::Literal(String::new()));
    }

    #[test]
    fn base64_reads_back() {
        assert_eq!(decode_base64(b"AP8=\n").unwrap(), [0, 255].as_slice());
        assert!(decode_base64(b"a!").is_err());
    }
}
