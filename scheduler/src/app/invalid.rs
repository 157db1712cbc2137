//! What is said about a definition that cannot be taken: every mistake at once, each with its place.

use std::collections::BTreeMap;
use std::fmt;

/// Why a text is no definition. The first two say "Invalid JSON", the last "Object is not valid", as Marathon does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalid {
    /// It is no JSON at all; what the parser says.
    Syntax(String),
    /// It is JSON of another shape: a number for a text, a field that has to be there.
    Shape(Vec<FieldError>),
    /// Its shape is right, and it cannot be meant or cannot be done.
    Meaning(Vec<FieldError>),
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Such as `/upgradeStrategy/minimumHealthCapacity`; `/` is the whole.
    pub path: String,
    pub errors: Vec<String>,
}

/// Mistakes by their place.
pub(super) type ByPath = BTreeMap<String, Vec<String>>;

impl Invalid {
    /// One mistake, of meaning.
    #[must_use]
    pub fn meaning(path: &str, error: impl Into<String>) -> Self {
        Self::Meaning(vec![FieldError {
            path: path.into(),
            errors: vec![error.into()],
        }])
    }

    /// What should have been an object is none.
    pub(super) fn no_object() -> Self {
        Self::Shape(vec![FieldError {
            path: "/".into(),
            errors: vec!["has to be an object".into()],
        }])
    }

    /// Marathon's word for it.
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            Self::Syntax(_) | Self::Shape(_) => "Invalid JSON",
            Self::Meaning(_) => "Object is not valid",
        }
    }

    /// The mistakes with places; none of a text that is no JSON.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        match self {
            Self::Syntax(_) => &[],
            Self::Shape(fields) | Self::Meaning(fields) => fields,
        }
    }

    /// The same mistakes, seen from further outside: `/cmd` becomes `/apps/0/cmd`.
    #[must_use]
    pub fn within(self, outside: &str) -> Self {
        let moved = |fields: Vec<FieldError>| fields.into_iter().map(|field| field.within(outside)).collect();
        match self {
            Self::Syntax(error) => Self::Syntax(error),
            Self::Shape(fields) => Self::Shape(moved(fields)),
            Self::Meaning(fields) => Self::Meaning(moved(fields)),
        }
    }
}

impl FieldError {
    fn within(self, outside: &str) -> Self {
        let path = match self.path.as_str() {
            "/" => outside.into(),
            path => format!("{}{path}", outside.trim_end_matches('/')),
        };
        Self { path, ..self }
    }

    pub(super) fn list(by_path: ByPath) -> Vec<Self> {
        by_path
            .into_iter()
            .map(|(path, errors)| Self { path, errors })
            .collect()
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())?;
        if let Self::Syntax(error) = self {
            write!(f, ": {error}")?;
        }
        self.fields().iter().try_for_each(|field| write!(f, "\n  {field}"))
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.errors.join("; "))
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_with_their_places_also_from_further_outside() {
        let invalid = Invalid::meaning("/cmd", "is empty").within("/apps/0");
        assert_eq!(invalid.to_string(), "Object is not valid\n  /apps/0/cmd is empty");

        let whole = Invalid::meaning("/", "is empty").within("/apps/0");
        assert_eq!(whole.fields()[0].path, "/apps/0");
        assert_eq!(Invalid::meaning("/cmd", "x").within("/").fields()[0].path, "/cmd");
        assert_eq!(Invalid::Syntax("line 1".into()).to_string(), "Invalid JSON: line 1");
    }
}
