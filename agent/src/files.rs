//! Reads the files that templates show, with `file` and `secretFile`.
//!
//! They are read when a template asks for them for the first time, and again with the templates: at HUP and
//! when one of them changes. A file's size is bounded, and with a sandbox it has to lie inside of it however
//! its path gets there; that is looked at before it is opened and once more behind that, so that a link
//! which is turned in between shows nothing.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::helpers::file::{Content, Known, Wanted};
use crate::render::{Held, Rendered, Surroundings};
use crate::trace::Trace;

/// The longest file that is shown.
const MAX_FILE: u64 = 16 << 20;

/// So many times a file may name the next.
const DEEPEST: usize = 16;

/// What is known of files, by all renders of one program.
#[derive(Debug, Default)]
pub struct Files(Mutex<Arc<Known>>);

impl Files {
    /// All that is known.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads all of them again.
    #[must_use]
    pub fn again(&self) -> Self {
        let read = |wanted: &Wanted| (wanted.clone(), read(wanted));
        Self(Mutex::new(Arc::new(self.known().keys().map(read).collect())))
    }

    /// Reads those that are not known yet; whether there was one.
    fn learn<'a>(&self, wanted: impl Iterator<Item = &'a Wanted>) -> bool {
        let mut known = self.known();
        let fresh: Vec<&Wanted> = wanted.filter(|wanted| !known.contains_key(*wanted)).collect();
        for wanted in &fresh {
            Arc::make_mut(&mut known).insert((*wanted).clone(), read(wanted));
        }
        if !fresh.is_empty() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
        }
        !fresh.is_empty()
    }

    /// Renders until every file that is asked for is known; whether one was read.
    pub fn complete(
        &self,
        mut around: Surroundings,
        render: impl Fn(&Surroundings) -> Vec<(Rendered, Trace)>,
    ) -> (Vec<(Rendered, Trace)>, bool) {
        around.files = self.known();
        let mut rendered = render(&around);
        let mut passes = 0;
        while self.learn(rendered.iter().flat_map(|(one, _)| &one.reads.files)) {
            passes += 1;
            if passes > DEEPEST {
                for (one, _) in &mut rendered {
                    one.outcome = Err(Held::Broken(format!("files name files, more than {DEEPEST} deep")));
                }
                break;
            }
            around.files = self.known();
            around.job = Arc::default();
            rendered = render(&around);
        }
        (rendered, passes > 0)
    }
}

fn read(wanted: &Wanted) -> Content {
    match open(wanted).and_then(|file| file.map_or(Ok(None), |file| text(file).map(Some))) {
        Ok(Some(text)) => Content::Text(text.into()),
        Ok(None) => Content::Absent,
        Err(reason) => Content::Refused(reason),
    }
}

/// Opens a file, if it is there. Opening a pipe would wait for whoever writes.
fn open(wanted: &Wanted) -> Result<Option<File>, String> {
    let open = |path: &Path, flags| {
        File::options()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK | flags)
            .open(path)
    };
    let there = |result: io::Result<File>| match result {
        Ok(file) => Ok(Some(file)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(format!("cannot be read: {e}")),
    };
    let Some(sandbox) = &wanted.sandbox else {
        return there(open(&wanted.path, 0));
    };
    let outside = || format!("lies outside of the sandbox {}", sandbox.display());
    let Some(real) = inside(&wanted.path, sandbox)? else {
        return Ok(None);
    };
    let Some(file) = there(open(&real, nix::libc::O_NOFOLLOW))? else {
        return Ok(None);
    };
    // What was opened has to be what still lies inside.
    let opened = file.metadata().map_err(|e| format!("cannot be read: {e}"))?;
    let again = inside(&wanted.path, sandbox)?;
    let same = again
        .filter(|path| *path == real)
        .and_then(|path| fs::metadata(path).ok());
    let same = same.is_some_and(|meta| (meta.dev(), meta.ino()) == (opened.dev(), opened.ino()));
    if same { Ok(Some(file)) } else { Err(outside()) }
}

/// Where a path leads, if that is inside of the sandbox; nothing if there is no such file.
fn inside(path: &Path, sandbox: &Path) -> Result<Option<PathBuf>, String> {
    let outside = || format!("lies outside of the sandbox {}", sandbox.display());
    let folder = fs::canonicalize(sandbox).map_err(|e| format!("has the sandbox {}: {e}", sandbox.display()))?;
    match fs::canonicalize(path) {
        Ok(real) if real.starts_with(&folder) => Ok(Some(real)),
        Ok(_) => Err(outside()),
        // Whether there is something outside is nobody's business either.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut folders = path.ancestors().skip(1);
            match folders.find_map(|folder| fs::canonicalize(folder).ok()) {
                Some(real) if real.starts_with(&folder) && !path.components().any(|part| part.as_os_str() == "..") => {
                    Ok(None)
                }
                _ => Err(outside()),
            }
        }
        Err(e) => Err(format!("cannot be read: {e}")),
    }
}

fn text(file: File) -> Result<String, String> {
    let meta = file.metadata().map_err(|e| format!("cannot be read: {e}"))?;
    if !meta.is_file() {
        return Err("is no plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {} MiB", MAX_FILE >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(path: &Path, bytes: &[u8]) {
        crate::write::atomic(path, bytes, None).unwrap();
    }

    #[test]
    fn a_sandbox_keeps_in_whatever_way_a_path_leads() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("in/a b")).unwrap();
        fs::create_dir(at("in2")).unwrap();
        for name in ["in/x", "in/a b/y", "secret", "in2/z"] {
            put(&at(name), b"text");
        }
        symlink("x", at("in/good")).unwrap();
        symlink(at("in/a b"), at("in/folder")).unwrap();
        symlink("../secret", at("in/bad")).unwrap();
        symlink(dir.path(), at("in/up")).unwrap();
        let read = |name: &str| {
            read(&Wanted {
                path: at("in").join(name),
                sandbox: Some(at("in")),
            })
        };

        for name in ["x", "a b/y", "a b/../x", "good", "folder/y"] {
            assert_eq!(read(name), Content::Text("text".into()), "{name}");
        }
        assert_eq!(read("x"), read(&at("in/x").display().to_string()));
        assert_eq!(read("none"), Content::Absent);
        for name in [
            "../secret",
            "bad",
            "up/secret",
            "../in2/z",
            "../none",
            "a b/../../secret",
            "/etc/passwd",
        ] {
            let told = read(name);
            assert!(
                matches!(&told, Content::Refused(why) if why.contains("outside of the sandbox")),
                "{name}: {told:?}"
            );
        }
    }

    #[test]
    fn a_link_that_is_turned_meanwhile_shows_nothing_from_outside() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("in")).unwrap();
        put(&at("in/x"), b"inside");
        put(&at("secret"), b"outside");
        symlink("x", at("in/link")).unwrap();
        let wanted = Wanted {
            path: at("in/link"),
            sandbox: Some(at("in")),
        };
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let turns = ["x", "../secret"].into_iter().cycle();
                for target in turns.take_while(|_| !stop.load(std::sync::atomic::Ordering::Relaxed)) {
                    symlink(target, at("in/next")).unwrap();
                    fs::rename(at("in/next"), at("in/link")).unwrap();
                }
            });
            for _ in 0..2_000 {
                assert_ne!(read(&wanted), Content::Text("outside".into()));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn what_is_no_text_of_a_bounded_size_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| {
            read(&Wanted {
                path: dir.path().join(name),
                sandbox: None,
            })
        };
        put(&dir.path().join("binary"), &[0xff, 0]);
        let long = File::create(dir.path().join("long")).unwrap();
        long.set_len(MAX_FILE + 1).unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (name, why) in [
            ("binary", "is not UTF-8 text"),
            ("long", "is larger than 16 MiB"),
            ("pipe", "is no plain file"),
            (".", "is no plain file"),
        ] {
            assert_eq!(read(name), Content::Refused(why.into()), "{name}");
        }
        assert_eq!(read("none"), Content::Absent);
    }
}
