//! How a file is to be, beside its contents.

use std::str::FromStr;

use serde::Deserialize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looks {
    /// The file's mode; else that of the old file, or 0644.
    pub mode: Option<u32>,
    /// Whom it belongs to; else as the old file.
    pub user: Option<Owner>,
    /// The group that it belongs to; else as the old file.
    pub group: Option<Owner>,
    /// Keep the old file beside it, with `.bak` behind its name.
    pub backup: bool,
    /// Make its folder if it is not there.
    pub create_dirs: bool,
    /// The mode of folders that are made; else what the umask leaves of 0777.
    pub dir_mode: Option<u32>,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            mode: None,
            user: None,
            group: None,
            backup: false,
            create_dirs: true,
            dir_mode: None,
        }
    }
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Form")]
pub enum Owner {
    /// By number.
    Number(u32),
    /// By name, as the machine knows it that the files are written on.
    Name(String),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a name, or a number")]
enum Form {
    Number(u32),
    Text(String),
}

impl TryFrom<Form> for Owner {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match form {
            Form::Number(number) => Ok(Self::Number(number)),
            Form::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) if text.is_empty() || text.contains([':', '/', '\0']) => Err(format!(
                "`{text}` is no name; give one such as \"www-data\", or a number"
            )),
            Err(_) => Ok(Self::Name(text.to_owned())),
        }
    }
}
