//! Small files in folders of our own that go away again: they need not survive a power cut.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use kvapi::Problem;
use kvapi::problem::exit;

/// Writes a file that nobody reads yet.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Problem> {
    File::create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("write {}: {e}", path.display())))
}
