//! Outputs that have grown too long.
//!
//! A program goes on writing to the file that it was given, so the file stays: what is in it is copied away, and it is cut to
//! nothing. What is written in the moment between the end of the copy and the cut is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sandbox::Sandboxes;

/// How long an output may become.
const LONGEST: u64 = 10 << 20;

/// How many older ones there are beside it.
const OLDER: u32 = 2;

/// How often outputs are measured. At 10 MB a second one becomes ten times as long as it may.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps the outputs of all tasks short, for ever.
pub(super) async fn keep_short(sandboxes: Sandboxes) {
    loop {
        tokio::time::sleep(EVERY).await;
        let sandboxes = sandboxes.clone();
        let done = tokio::task::spawn_blocking(move || look(&sandboxes)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!("the outputs of tasks cannot be rotated: {error}");
        }
    }
}

fn look(sandboxes: &Sandboxes) -> io::Result<()> {
    for task in sandboxes.tasks()? {
        for path in sandboxes.outputs(&task) {
            if fs::metadata(&path).is_ok_and(|meta| meta.len() > LONGEST) {
                rotate(&path)?;
            }
        }
    }
    Ok(())
}

fn rotate(path: &Path) -> io::Result<()> {
    for number in (1..OLDER).rev() {
        match fs::rename(older(path, number), older(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let mut from = OpenOptions::new().read(true).write(true).open(path)?;
    let mut to = File::create(older(path, 1))?;
    let copied = io::copy(&mut from, &mut to)?;
    // What came meanwhile, if not much of it.
    from.seek(SeekFrom::Start(copied))?;
    io::copy(&mut (&from).take(LONGEST), &mut to)?;
    from.set_len(0)
}

fn older(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_writer_goes_on_at_the_beginning_and_two_older_ones_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("stdout");
        let mut writer = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for text in ["one", "two", "three"] {
            writer.write_all(text.as_bytes()).unwrap();
            rotate(&path).unwrap();
        }
        writer.write_all(b"four").unwrap();

        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "four");
        assert_eq!(read(&older(&path, 1)), "three");
        assert_eq!(read(&older(&path, 2)), "two");
        assert!(!older(&path, 3).exists());
    }

    #[test]
    fn only_what_is_too_long_is_rotated() {
        let home = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(&home.path().join("tasks")).unwrap();
        let task = crate::driver::TaskId("web".into());
        let outputs = sandboxes.create(&task, None).unwrap();
        outputs.stdout.set_len(LONGEST + 1).unwrap();
        outputs.stderr.set_len(LONGEST).unwrap();

        look(&sandboxes).unwrap();

        assert_eq!(outputs.stdout.metadata().unwrap().len(), 0);
        assert_eq!(outputs.stderr.metadata().unwrap().len(), LONGEST);
        let old = older(&sandboxes.of(&task).join("stdout"), 1);
        assert_eq!(fs::metadata(old).unwrap().len(), LONGEST + 1);
    }
}
