//! The folder of one test: everything it writes and every log of what it starts.
//!
//! Gone when the test succeeds; kept, and its logs printed, when it fails.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

/// How much of each log is printed when a test fails, in bytes.
const TAIL: usize = 8_000;

/// See the module.
pub(crate) struct Home {
    dir: Option<TempDir>,
    started: Instant,
}

impl Home {
    pub(super) fn new() -> Self {
        // Below /tmp and short: a unix socket's path has at most 107 bytes.
        let dir = tempfile::Builder::new().prefix("keyway-test-").tempdir();
        Self {
            dir: Some(dir.expect("the folder for temporary files can be written")),
            started: Instant::now(),
        }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.as_ref().expect("taken only in drop").path()
    }

    /// A path in the folder; nothing is made.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes a file, its folders too.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> io::Result<PathBuf> {
        let path = self.path(name);
        write_file(&path, contents)?;
        Ok(path)
    }

    /// Reads a file as text.
    pub(crate) fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.path(name))
    }

    fn print_logs(dir: &Path) {
        let mut logs: Vec<PathBuf> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "out" || end == "log"))
            .collect();
        logs.sort();
        for path in logs {
            let bytes = fs::read(&path).unwrap_or_default();
            let tail = &bytes[bytes.len().saturating_sub(TAIL)..];
            eprintln!("--- {}\n{}", path.display(), String::from_utf8_lossy(tail));
        }
    }

    /// Adds the test's name and seconds to a file from which `tests/run` shows the slowest.
    fn note_time(&self) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("times");
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        let line = format!("{:7.1} s  {name}\n", self.started.elapsed().as_secs_f64());
        if let Ok(mut file) = File::options().create(true).append(true).open(path) {
            drop(file.write_all(line.as_bytes()));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.note_time();
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            let kept = dir.keep();
            Self::print_logs(&kept);
            eprintln!("--- kept: {}", kept.display());
        }
    }
}

/// Writes a file, its folders too. Neither atomic nor durable.
pub(crate) fn write_file(path: &Path, contents: impl AsRef<[u8]>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(path)?.write_all(contents.as_ref())
}
