//! The program's environment as it is written, and what is wrong with it.

use std::collections::BTreeMap;

use kvapi::Problem;
use serde::Deserialize;

use super::invalid;
use crate::document::is_name;
use crate::environment::{Environment, PLACE};

/// See [`Environment`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawEnvironment {
    /// Folders of keys.
    #[serde(default)]
    pub prefix: Vec<String>,
    /// Variables and their keys.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// Names from folders in capital letters.
    pub upper: Option<bool>,
    /// What follows when a variable from a key changes.
    pub on_change: Option<OnVariable>,
    /// Nothing is inherited.
    pub pristine: Option<bool>,
    /// Variables and their values.
    #[serde(default)]
    pub custom: BTreeMap<String, Secret>,
    /// Patterns of what may be inherited.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Patterns of what may not.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// A text that is not shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// What follows when a variable from a key changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnVariable {
    /// The program is started again.
    Restart,
    /// Nothing: it has the new value when it is started the next time.
    None,
}

impl RawEnvironment {
    /// Takes over what `later` says.
    pub(super) fn merge(&mut self, later: Self) {
        self.prefix.extend(later.prefix);
        self.names.extend(later.names);
        self.upper = later.upper.or(self.upper);
        self.on_change = later.on_change.or(self.on_change);
        self.pristine = later.pristine.or(self.pristine);
        self.custom.extend(later.custom);
        self.allow.extend(later.allow);
        self.deny.extend(later.deny);
    }

    pub(super) fn check(self) -> Result<Environment, Problem> {
        for name in self.names.keys().chain(self.custom.keys()) {
            if !is_name(name) {
                let told = format!("{PLACE}: `{name}` is no name of a variable");
                return Err(invalid(told).help("give letters, digits and _, no digit first"));
            }
        }
        if let Some((name, _)) = self.names.iter().find(|(_, key)| key.is_empty()) {
            return Err(invalid(format!("{PLACE}: the variable {name} names no key")));
        }
        if let Some((name, _)) = self.custom.iter().find(|(_, value)| value.0.contains('\0')) {
            return Err(invalid(format!("{PLACE}: the value of {name} has a NUL in it")));
        }
        let folder = |prefix: &String| prefix.trim_end_matches('/').to_owned();
        let prefixes: Vec<String> = self.prefix.iter().map(folder).collect();
        if prefixes.iter().any(String::is_empty) {
            let told = format!("{PLACE}: a prefix is the path of a folder, and all keys together are none");
            return Err(invalid(told).help("give one such as app/env"));
        }
        Ok(Environment {
            prefixes,
            names: self.names,
            upper: self.upper.unwrap_or(false),
            restarts: self.on_change != Some(OnVariable::None),
            pristine: self.pristine.unwrap_or(false),
            custom: self.custom.into_iter().map(|(name, value)| (name, value.0)).collect(),
            allow: self.allow,
            deny: self.deny,
        })
    }
}
