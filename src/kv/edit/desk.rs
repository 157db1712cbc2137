//! Where a document lies while somebody types: a file that only they can read, the editor, and what
//! becomes of the file when it cannot be used yet.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kvapi::problem::exit;
use kvapi::{Entry, Problem};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::kv::files::failed;
use crate::signals::{INTERRUPTED, Stop};

/// How long an editor may take to end after a TERM: it may save what it holds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept beside the document: the entries that it was made of.
const BASE: &str = "base";

/// See the module.
pub(super) struct Desk {
    path: PathBuf,
    /// A folder of this run, or `None` if the file was kept by an earlier one.
    folder: Option<TempDir>,
    /// The document as it was laid down.
    before: Vec<u8>,
}

impl Desk {
    /// A fresh file of this name.
    pub(super) fn lay(name: &str, text: &[u8]) -> Result<Self, Problem> {
        let folder = tempfile::Builder::new()
            .prefix("keyway-edit-")
            .tempdir()
            .map_err(|e| failed("make a folder in", &std::env::temp_dir(), &e))?;
        let path = folder.path().join(name);
        write_private(&path, text)?;
        Ok(Self {
            path,
            folder: Some(folder),
            before: text.to_owned(),
        })
    }

    /// A file that was kept, or that somebody wrote.
    pub(super) fn take_up(path: &Path) -> Result<Self, Problem> {
        let before = fs::read(path).map_err(|e| failed("read", path, &e))?;
        Ok(Self {
            path: path.to_owned(),
            folder: None,
            before,
        })
    }

    /// The entries that the document was made of, if it was kept with them.
    pub(super) fn base(&self) -> Result<Option<Vec<Entry>>, Problem> {
        let path = base_path(&self.path);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|e| Problem::new(exit::INVALID, format!("{}: {e}", path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed("read", &path, &e)),
        }
    }

    /// Whether this is what was laid down, untouched. What an earlier run kept was typed then.
    pub(super) fn is_as_laid(&self, typed: &[u8]) -> bool {
        self.folder.is_some() && typed == self.before
    }

    /// Lets somebody type; what is there after it. TERM ends the editor too.
    pub(super) async fn edit(&self, editor: &str, stop: &mut Stop) -> Result<Vec<u8>, Problem> {
        let words = shlex::split(editor).filter(|words| !words.is_empty());
        let words = words.ok_or_else(|| {
            Problem::new(exit::USAGE, format!("the editor `{editor}` is no command")).help(SET_EDITOR)
        })?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(&self.path);
        let mut child = command.spawn().map_err(|e| {
            Problem::new(exit::INVALID, format!("start the editor `{}`: {e}", words[0])).help(SET_EDITOR)
        })?;
        let ended = tokio::select! {
            biased;
            () = stop.terminated() => None,
            ended = child.wait() => Some(ended),
        };
        let Some(ended) = ended else {
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                // It may have ended by itself just now.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            // One that does not end is somebody's who sees it; the file is there for it.
            let _ = timeout(PATIENCE, child.wait()).await;
            return Err(terminated());
        };
        let status = ended.map_err(|e| Problem::new(exit::BUG, format!("wait for the editor: {e}")))?;
        if !status.success() {
            return Err(Problem::new(
                exit::INVALID,
                format!("the editor `{}` ended with {status}", words[0]),
            ));
        }
        fs::read(&self.path).map_err(|e| {
            failed("read what was typed from", &self.path, &e)
                .help("nothing was written; an editor has to leave what is typed in the file that it is given")
        })
    }

    /// Keeps what was typed, and what it began with; where it is. Nothing is kept of what was not touched,
    /// nor of what is not there.
    pub(super) fn keep(&mut self, base: &[Entry]) -> Option<&Path> {
        match fs::read(&self.path) {
            Ok(now) if self.is_as_laid(&now) => return None,
            Err(e) if e.kind() == ErrorKind::NotFound => return None,
            _ => {}
        }
        // Without the base a later run takes what is there then for it; that is told by its diff.
        let text = serde_json::to_vec(base).unwrap_or_default();
        let path = base_path(&self.path);
        if !path.exists() && write_private(&path, &text).is_err() {
            tracing::warn!(path = %path.display(), "cannot be written");
        }
        if let Some(folder) = self.folder.take() {
            let _ = folder.keep();
        }
        Some(&self.path)
    }

    /// It is written: what an earlier run kept goes.
    pub(super) fn clear(self) {
        let base = base_path(&self.path);
        if self.folder.is_some() || !base.exists() {
            return;
        }
        let _ = fs::remove_file(&base);
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            // Only if it is empty.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// TERM came before anything was written.
pub(super) fn terminated() -> Problem {
    Problem::new(INTERRUPTED, "ended by TERM, nothing was written")
}

const SET_EDITOR: &str = "name one with VISUAL or EDITOR";

fn base_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(BASE);
    name.into()
}

fn write_private(path: &Path, text: &[u8]) -> Result<(), Problem> {
    let file: std::io::Result<File> = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text))
        .map_err(|e| failed("write", path, &e))
}
