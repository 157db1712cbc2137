//! The disk: one of the four seams to the world. Files of the data folder are made, replaced and
//! removed here and nowhere else in this crate.
//!
//! What a function here has returned from survives a power cut: contents by fsync of the file,
//! names by fsync of their folder. An fsync that failed is never tried again, since the kernel
//! may have dropped the pages by then and the second one would lie. (sled and `raft-log` open
//! files of their own; those stay within `store/`.)

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write};
use std::path::{Path, PathBuf};

/// How the name of a file ends while it is being written.
const UNFINISHED: &str = ".unfinished";

/// Reads and writes of long files are gathered to this.
const BUFFER_BYTES: usize = 256 << 10;

/// Makes a folder, and its name durable. One that is there is taken.
pub fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent(path) {
        create_dir(parent)?;
    }
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    sync_dir_of(path)
}

/// Puts a file in place of another, or of none: readers find the old or the new one whole.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(content)?;
    file.commit(|| {})
}

/// The content of a file; `None` if there is no such file.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A file to read from, in large steps.
pub type Reading = BufReader<File>;

/// Opens a file to read from.
pub fn open(path: &Path) -> io::Result<Reading> {
    Ok(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))
}

/// Opens a file to read from somewhere in it.
pub fn open_at(path: &Path, offset: u64) -> io::Result<Reading> {
    let mut reading = open(path)?;
    reading.seek(io::SeekFrom::Start(offset))?;
    Ok(reading)
}

/// The next bytes, at most so many; none at the end.
pub fn read_piece(reading: &mut Reading, most: usize) -> io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    reading.by_ref().take(most as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Adds to the end of a file. Nothing of it is durable.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(bytes)
}

/// A file held so that no other process has it; dropping it gives it free.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes a lock, whose file is made if need be; `None` if another process, or another part of
/// this one, holds it.
pub fn lock(path: &Path) -> io::Result<Option<Lock>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// A lock whose file may or may not be there.
#[derive(Debug)]
pub enum Existing {
    Taken(Lock),
    /// Somebody else has it.
    Held,
    Missing,
}

/// Takes a lock, but makes no file for it.
pub fn lock_existing(path: &Path) -> io::Result<Existing> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Existing::Missing),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Existing::Taken(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(Existing::Held),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Copies a folder and all that is in it; nothing of the copy is durable.
pub fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// How many bytes of the file system that holds `path` can still be written by anybody.
pub fn free(path: &Path) -> io::Result<u64> {
    let found = nix::sys::statvfs::statvfs(path)?;
    Ok(found.blocks_available() * found.fragment_size())
}

/// Makes a file that takes so much room, whatever is or is not in it. Nothing is left if there is
/// not enough.
pub fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    let file = File::create(path)?;
    let reserved = nix::fcntl::posix_fallocate(&file, 0, length).map_err(io::Error::from);
    if reserved.is_err() {
        fs::remove_file(path)?;
    }
    reserved
}

/// How long a file is.
pub fn length(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// When a file was last written, milliseconds since 1970.
pub fn modified_ms(path: &Path) -> io::Result<u64> {
    let modified = fs::metadata(path)?.modified()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What to do where a folder or file may not be written, or not be read.
#[must_use]
pub fn remedy(e: &io::Error) -> Option<&'static str> {
    match e.kind() {
        io::ErrorKind::PermissionDenied => Some("let the server's user read and write there, and start again"),
        io::ErrorKind::ReadOnlyFilesystem => Some("mount that file system for writing, and start again"),
        io::ErrorKind::StorageFull => Some("free some space, and start again"),
        _ => None,
    }
}

/// Whether an error says that there is no room left.
#[must_use]
pub fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes a file with nothing in it, or empties one. Its name is not durable yet.
pub fn create_empty(path: &Path) -> io::Result<()> {
    File::create(path).map(drop)
}

/// What is in a folder, in byte order; nothing if there is no such folder. Unfinished files are
/// left out.
pub fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| !is_unfinished(path)).collect())
}

/// What a crash left half written in a folder.
pub fn unfinished(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(entries(dir)?.into_iter().filter(|path| is_unfinished(path)).collect())
}

/// Removes what a crash left half written in a folder.
pub fn remove_unfinished(dir: &Path) -> io::Result<()> {
    entries(dir)?
        .iter()
        .filter(|path| is_unfinished(path))
        .try_for_each(fs::remove_file)
}

/// Whether there is such a file or folder.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Removes a file.
pub fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_dir_of(path)
}

/// Removes a folder and all that is in it.
pub fn remove_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)?;
    sync_dir_of(path)
}

/// Gives a file or folder another name on the same file system.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_dir_of(to)
}

/// Makes the content of a file durable that somebody else wrote.
pub fn sync_data(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_data()?;
    #[cfg(test)]
    crate::simulation::disk::is_synced(path);
    Ok(())
}

/// Makes a file or folder and its metadata durable that somebody else wrote.
pub fn sync_all(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A file that comes to be when it is complete, or not at all.
#[derive(Debug)]
pub struct NewFile {
    file: BufWriter<File>,
    unfinished: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// Begins the file; dropping it without [`NewFile::commit`] leaves nothing.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&unfinished)?);
        Ok(Self {
            file,
            unfinished,
            path: path.to_owned(),
        })
    }

    /// Makes the content durable, then the name. `before_rename` runs between the two.
    pub fn commit(mut self, before_rename: impl FnOnce()) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        before_rename();
        rename(&self.unfinished, &self.path)
    }

    /// What has been written so far, to be read from its start.
    pub fn reread(&mut self) -> io::Result<Reading> {
        self.file.flush()?;
        open(&self.unfinished)
    }

    /// Takes over everything that is left in `from`.
    pub fn copy_from(&mut self, from: &mut impl Read) -> io::Result<u64> {
        io::copy(from, &mut self.file)
    }
}

impl Write for NewFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After a commit the name is gone; otherwise the next start removes what is left.
        let _ = fs::remove_file(&self.unfinished);
    }
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let found = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let mut paths = found.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn is_unfinished(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes())
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

fn sync_dir_of(path: &Path) -> io::Result<()> {
    sync_all(parent(path).unwrap_or_else(|| Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");

        replace(&path, b"old").unwrap();
        let mut new = NewFile::create(&path).unwrap();
        new.write_all(b"ne").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"old");
        new.write_all(b"w").unwrap();
        new.commit(|| {}).unwrap();

        assert_eq!(read(&path).unwrap().unwrap(), b"new");
        assert_eq!(list(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn an_unfinished_file_is_not_listed_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");

        let new = NewFile::create(&path).unwrap();
        assert_eq!(list(dir.path()).unwrap(), Vec::<PathBuf>::new());
        drop(new);

        assert!(entries(dir.path()).unwrap().is_empty());
        assert_eq!(read(&path).unwrap(), None);
    }

    #[test]
    fn folders_are_made_with_their_parents_and_twice_is_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");

        create_dir(&path).unwrap();
        create_dir(&path).unwrap();

        assert!(exists(&path));
    }
}
