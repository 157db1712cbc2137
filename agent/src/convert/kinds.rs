//! What is known of a value before it is there.

/// A kind of value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A key with its value, as `ls` and `tree` give them.
    Pair,
    /// The same, as `byKey` gives it.
    Grouped,
    /// A list.
    List(Box<Self>),
    /// A map.
    Map(Box<Self>),
    /// What somebody's JSON, YAML or TOML holds.
    Document,
}

impl Kind {
    /// A list of these.
    #[must_use]
    pub fn list(self) -> Self {
        Self::List(Box::new(self))
    }

    /// A map of these.
    #[must_use]
    pub fn map(self) -> Self {
        Self::Map(Box::new(self))
    }

    /// What a block goes through in it.
    pub fn inner(&self) -> Option<Self> {
        match self {
            Self::List(inner) | Self::Map(inner) => Some((**inner).clone()),
            Self::Document => Some(Self::Document),
            Self::Number => Some(Self::Number),
            Self::Text | Self::Bool | Self::Pair | Self::Grouped => None,
        }
    }

    /// A field's name with us, and its kind.
    pub fn field(&self, name: &str) -> Result<(String, Self), String> {
        let pair = |name: &str, kind| Ok((name.to_owned(), kind));
        match self {
            Self::Grouped if name == "Key" => {
                Err("`.Key` of what `byKey` gives is the rest of the path there, and the whole one here".to_owned())
            }
            Self::Pair | Self::Grouped => match name {
                "Key" => pair("key", Self::Text),
                "Value" => pair("value", Self::Text),
                "Path" => pair("path", Self::Text),
                "Flags" => pair("flags", Self::Number),
                "ModifyIndex" => pair("revision", Self::Number),
                other => Err(format!("a key has no `.{other}` here")),
            },
            Self::Map(inner) => Ok((name.to_owned(), (**inner).clone())),
            Self::Document => Ok((name.to_owned(), Self::Document)),
            Self::Text | Self::Number | Self::Bool | Self::List(_) => {
                Err(format!("`.{name}` is a field of nothing known"))
            }
        }
    }
}
