//! Helpers that show files of this machine. Nothing is read here: what is known of files is handed in, and
//! what is not known yet is asked for, as with keys outside of the view.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Call;
use super::reader::{Function, Reader};
use crate::trace::Origin;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("file", |reader, call| file(reader, call, false)),
    ("secretFile", |reader, call| file(reader, call, true)),
];

/// Where a template's files are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// What relative paths are relative to.
    pub base: PathBuf,
    /// The folder that no file may lie outside of.
    pub sandbox: Option<PathBuf>,
}

/// A file that a template asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Its path.
    pub path: PathBuf,
    /// The folder that it may not lie outside of.
    pub sandbox: Option<PathBuf>,
}

impl Place {
    /// What is meant by a path.
    #[must_use]
    pub fn wanted(&self, path: &str) -> Wanted {
        Wanted {
            path: self.base.join(Path::new(path)),
            sandbox: self.sandbox.clone(),
        }
    }
}

/// What came of reading a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// This text.
    Text(Arc<str>),
    /// It is not there.
    Absent,
    /// It cannot be shown, and why.
    Refused(String),
}

/// All that is known of files.
pub type Known = BTreeMap<Wanted, Content>;

/// `(file "path" default="x")`: the text of a file, relative to the template's folder. The default stands in
/// for a file that is not there. `secretFile` is the same, and no preview shows the lines that it is in.
fn file(reader: &Reader<'_>, call: &Call<'_>, secret: bool) -> Result<Value, String> {
    let wanted = reader.place().wanted(&call.text(0)?);
    let path = wanted.path.clone();
    reader.trace(|tracer| {
        tracer.read(Origin::File {
            path: path.clone(),
            secret,
        });
    });
    match (reader.file(wanted), call.text_option("default")?) {
        // This pass is thrown away.
        (None, _) => Ok("".into()),
        (Some(Content::Text(text)), _) => Ok((**text).into()),
        (Some(Content::Absent), Some(default)) => Ok(default.into()),
        (Some(Content::Absent), None) => Err(format!(
            "the file {} is not there; make it, or give default=",
            path.display()
        )),
        (Some(Content::Refused(reason)), _) => Err(format!("the file {} {reason}", path.display())),
    }
}
