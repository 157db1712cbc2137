//! What is edited, as the text that an editor shows, and back. Pure.

use bytes::Bytes;

use crate::value::{decode_base64, encode_base64};
use agent::document::{self, As, Bad, Item};

/// How wide a value that is no text is shown.
const WIDTH: usize = 76;

/// How the text stands for the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sheet {
    /// A document of everything below a prefix.
    Tree(As),
    /// One value that is text, in a language that is checked if it is known.
    Text {
        language: Option<As>,
        /// Whether the line break that editors put at the end is not the value's.
        cut_line_break: bool,
    },
    /// One value that is no text.
    Base64,
}

impl Sheet {
    /// One value's own.
    pub(super) fn of_value(value: &[u8], language: Option<As>) -> Self {
        match std::str::from_utf8(value) {
            Ok(text) => Self::Text {
                language,
                cut_line_break: !text.ends_with('\n'),
            },
            Err(_) => Self::Base64,
        }
    }

    /// What the name of a file ends with, so that an editor knows what it is.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Tree(form)
            | Self::Text {
                language: Some(form), ..
            } => match form {
                As::Json | As::Consul => ".json",
                As::Yaml => ".yaml",
                As::Toml => ".toml",
                As::Env | As::Dir => ".env",
            },
            Self::Text { language: None, .. } => "",
            Self::Base64 => ".base64",
        }
    }

    /// The text of settings whose keys are cut at the prefix; one value has the empty key.
    pub(super) fn write(self, items: &[Item], title: &str) -> Result<Vec<u8>, Bad> {
        let value = || items.first().map(|item| item.value.clone()).unwrap_or_default();
        Ok(match self {
            Self::Text { .. } => value().to_vec(),
            Self::Base64 => {
                let text = encode_base64(&value());
                let lines = text.as_bytes().chunks(WIDTH).map(String::from_utf8_lossy);
                let head = format!("# {title}\n# This is base64, since the value is no text.\n");
                lines.fold(head, |text, line| text + &line + "\n").into_bytes()
            }
            Self::Tree(As::Json | As::Consul) => document::write(items, As::Json)?.into_bytes(),
            Self::Tree(form) => {
                let text = document::write(items, form)?;
                let head =
                    "# A key that is taken out is deleted. Nothing is written before you have seen what changes.\n";
                let text = if items.is_empty() && form == As::Yaml {
                    ""
                } else {
                    &text
                };
                format!("# {title}\n{head}\n{text}").into_bytes()
            }
        })
    }

    /// What was typed. `flags` are those of the one value.
    pub(super) fn read(self, typed: &[u8], flags: u64) -> Result<Vec<Item>, Bad> {
        let no_text = |line| Bad {
            line,
            what: "this is no text in UTF-8".into(),
        };
        let one = |value: Bytes| {
            vec![Item {
                key: String::new(),
                value,
                flags,
            }]
        };
        match self {
            Self::Text {
                language,
                cut_line_break,
            } => {
                let cut = typed.strip_suffix(b"\n").filter(|_| cut_line_break);
                let value = cut.unwrap_or(typed);
                if let Some(language) = language {
                    let text = std::str::from_utf8(value).map_err(|_| no_text(None))?;
                    document::check(text, language)?;
                }
                Ok(one(Bytes::copy_from_slice(value)))
            }
            Self::Base64 => {
                let lines = typed
                    .split(|&byte| byte == b'\n')
                    .filter(|line| !line.starts_with(b"#"));
                let packed: Vec<u8> = lines
                    .flatten()
                    .copied()
                    .filter(|byte| !byte.is_ascii_whitespace())
                    .collect();
                let value = decode_base64(&packed).map_err(|e| Bad {
                    line: None,
                    what: e.what,
                })?;
                Ok(one(value))
            }
            Self::Tree(form) => {
                let text = std::str::from_utf8(typed).map_err(|e| {
                    let line = typed[..e.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
                    no_text(Some(line))
                })?;
                document::read(text, form)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_that_is_not_touched_comes_back(value in prop_oneof![
            any::<Vec<u8>>(),
            "[a-z#\n ]{0,200}".prop_map(String::into_bytes),
        ], flags in any::<u64>()) {
            let sheet = Sheet::of_value(&value, None);
            let item = Item { key: String::new(), value: value.into(), flags };
            let text = sheet.write(std::slice::from_ref(&item), "title").unwrap();
            prop_assert_eq!(sheet.read(&text, flags).unwrap(), vec![item]);
        }
    }

    #[test]
    fn the_line_break_that_an_editor_adds_is_not_the_value() {
        let read = |before: &[u8], typed: &[u8]| Sheet::of_value(before, None).read(typed, 0).unwrap()[0].value.clone();

        assert_eq!(read(b"a", b"b\n"), "b");
        assert_eq!(read(b"a\n", b"b\n"), "b\n");
        assert_eq!(read(b"", b"b\n"), "b");
    }

    #[test]
    fn a_value_in_a_known_language_is_checked() {
        let sheet = Sheet::of_value(b"{}", Some(As::Json));

        assert!(sheet.read(b"[1, 1.10]\n", 0).is_ok());
        assert!(
            sheet
                .read(b"{\"a\": }\n", 0)
                .unwrap_err()
                .to_string()
                .starts_with("line 1: ")
        );
        assert!(Sheet::of_value(b"", Some(As::Yaml)).read(b"a: [", 0).is_err());
        assert!(Sheet::of_value(b"", Some(As::Toml)).read(b"a = ", 0).is_err());
    }
}
