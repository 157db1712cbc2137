//! Addresses and tokens by a name: `contexts.toml` beside the user's own settings, written by
//! `keyway context`, and readable by nobody else, since a token may be in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use agent::nearest;
use kvapi::Problem;
use kvapi::codes;
use kvapi::problem::exit;
use serde::{Deserialize, Serialize};

use super::file::File;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that holds where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) contexts: BTreeMap<String, Named>,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    pub(crate) addr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
}

impl Contexts {
    /// Reads the file; one that is not there holds nothing.
    pub(crate) fn load(path: &Path) -> Result<Self, Problem> {
        let failed = |what: String| Problem::new(exit::INVALID, format!("{}: {what}", path.display()));
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|e| failed(e.message().to_owned())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Self::default()),
            Err(e) => Err(failed(e.to_string())),
        }
    }

    /// Puts the file in place of the old one, for the user alone.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Problem> {
        let text = toml::to_string(self).map_err(|e| Problem::new(exit::BUG, format!("write TOML: {e}")))?;
        let write = || {
            let folder = path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            // Such a file is made with mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|e| e.error)?;
            Ok(())
        };
        write().map_err(|e: io::Error| Problem::new(exit::INVALID, format!("write {}: {e}", path.display())))
    }

    pub(crate) fn get(&self, name: &str) -> Result<&Named, Problem> {
        self.contexts.get(name).ok_or_else(|| {
            let problem = Problem::of(&codes::NO_CONTEXT, format!("no context `{name}`"));
            match nearest::of(name, self.contexts.keys().map(String::as_str)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help("see them with   keyway context ls   and add one with   keyway context add"),
            }
        })
    }

    /// What a context says, as a layer.
    pub(super) fn layer(&self, name: &str) -> Result<File, Problem> {
        let named = self.get(name)?.clone();
        Ok(File {
            addr: Some(named.addr),
            token: named.token,
            token_file: named.token_file,
            ..File::default()
        })
    }
}
