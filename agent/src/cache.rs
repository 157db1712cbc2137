//! The last good values on disk, so that an agent can be started while the store is away.
//!
//! One file for each agent, mode 0600: what the set in place was rendered from, with its revision and
//! its cluster, behind a line with a checksum. It is written when a set has been applied, before that is
//! noted in the journal. The file's time says when its values were last known to be what the store has;
//! a running agent moves it on.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kvapi::types::Entry;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::Cache;
use crate::helpers::encode::hex;
use crate::view::{Revisions, Scope, View};
use crate::write;

const MAGIC: &str = "keyway-agent cache";

const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    cluster: &'a str,
    revisions: Revisions,
    keys: Vec<&'a str>,
    prefixes: Vec<&'a str>,
    entries: Vec<&'a Entry>,
}

#[derive(Deserialize)]
struct Read {
    cluster: String,
    revisions: Revisions,
    keys: Vec<String>,
    prefixes: Vec<String>,
    entries: Vec<Entry>,
}

/// Keeps what a set was rendered from. Durable once it returns.
pub fn write(cache: &Cache, view: &View) -> io::Result<()> {
    let scope = view.scope();
    let body = serde_json::to_vec(&Written {
        cluster: view.cluster(),
        revisions: view.revisions(),
        keys: scope.keys.iter().map(String::as_str).collect(),
        prefixes: scope.prefixes.iter().map(String::as_str).collect(),
        entries: view.entries().collect(),
    })?;
    let mut text = head(&body).into_bytes();
    text.extend(body);
    if let Some(folder) = cache.file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if !write::atomic(&cache.file, &text, Some(0o600))? {
        current(&cache.file)?;
    }
    Ok(())
}

/// What is in the file is what the store has now.
pub fn current(file: &Path) -> io::Result<()> {
    File::options().write(true).open(file)?.set_modified(SystemTime::now())
}

/// How often that is to be noted while it is so.
#[must_use]
pub fn every(cache: &Cache) -> Duration {
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(60));
    cache.max_stale.map_or(most, |limit| (limit / 4).clamp(least, most))
}

/// What was kept, and how long ago it was known to be current; nothing if nothing was.
pub fn read(cache: &Cache) -> Result<Option<(View, Duration)>, String> {
    let shown = cache.file.display();
    let unreadable = |e: io::Error| format!("{shown} cannot be read: {e}");
    let time = match fs::metadata(&cache.file).and_then(|meta| meta.modified()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        time => time.map_err(unreadable)?,
    };
    // A clock that was set back makes nothing old.
    let age = SystemTime::now().duration_since(time).unwrap_or_default();
    let age = Duration::from_secs(age.as_secs());
    if let Some(limit) = cache.max_stale.filter(|limit| age > *limit) {
        let [age, limit] = [age, limit].map(kvapi::duration::format);
        return Err(format!(
            "{shown} was last known to be current {age} ago, and max_stale is {limit}"
        ));
    }
    let text = fs::read(&cache.file).map_err(unreadable)?;
    parse(&text)
        .map(|view| Some((view, age)))
        .map_err(|why| format!("{shown} {why}"))
}

fn head(body: &[u8]) -> String {
    format!("{MAGIC} {FORMAT} {}\n", hex(&Sha256::digest(body)))
}

fn parse(text: &[u8]) -> Result<View, String> {
    let damaged = || "is damaged".to_owned();
    let end = text.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let (first, body) = text.split_at(end + 1);
    if first != head(body).as_bytes() {
        let first = String::from_utf8_lossy(first);
        let format = first
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_whitespace().next());
        return Err(match format.and_then(|format| format.parse::<u32>().ok()) {
            Some(format) if format > FORMAT => format!("was written by a newer agent (format {format})"),
            _ => damaged(),
        });
    }
    let read: Read = serde_json::from_slice(body).map_err(|_| damaged())?;
    let scope = Scope {
        keys: read.keys.into_iter().collect(),
        prefixes: read.prefixes.into_iter().collect(),
    };
    Ok(View::kept(read.cluster, read.revisions, scope, read.entries))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use kvapi::Revision;
    use kvapi::types::Snapshot;

    use super::*;

    fn place(max_stale: Option<Duration>) -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("folder/agent-x.cache");
        (dir, Cache { file, max_stale })
    }

    fn view() -> View {
        let mut view = View::default();
        view.meet("c").unwrap();
        let scope = Scope {
            keys: ["a".into(), "gone".into()].into(),
            prefixes: ["t/".into()].into(),
        };
        let entry = |key: &str, value: &'static [u8]| Entry {
            lock_index: 1,
            key: key.into(),
            flags: 2,
            value: value.into(),
            session: None,
            create_index: Revision(3),
            modify_index: Revision(4),
        };
        let entries = vec![entry("a", b"1"), entry("t/\u{e4}", &[0, 0xff])];
        view.replace(
            Snapshot {
                revision: Revision(9),
                entries,
            },
            scope,
        )
        .unwrap();
        view
    }

    #[test]
    fn what_was_kept_is_read_as_it_was_and_only_the_owner_may_read_it() {
        let (_dir, cache) = place(None);
        assert_eq!(read(&cache), Ok(None));

        write(&cache, &view()).unwrap();

        assert_eq!(read(&cache).unwrap().unwrap().0, view());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&cache.file), mode(cache.file.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn any_byte_that_is_different_makes_it_useless() {
        let (_dir, cache) = place(None);
        write(&cache, &view()).unwrap();
        let good = fs::read(&cache.file).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert!(parse(&bad).is_err(), "{place}");
            assert!(parse(&good[..place]).is_err(), "cut at {place}");
        }
        assert!(
            parse(b"keyway-agent cache 2 x\n{}")
                .unwrap_err()
                .contains("newer agent")
        );
    }

    #[test]
    fn it_is_as_old_as_the_last_word_that_it_is_current() {
        let (_dir, cache) = place(Some(Duration::from_secs(3600)));
        write(&cache, &view()).unwrap();
        let old = SystemTime::now() - Duration::from_secs(7200);
        let file = File::options().write(true).open(&cache.file).unwrap();
        file.set_modified(old).unwrap();

        let told = read(&cache).unwrap_err();
        assert!(told.contains("2h") && told.contains("max_stale is 1h"), "{told}");

        current(&cache.file).unwrap();
        assert!(read(&cache).unwrap().is_some());
        file.set_modified(old).unwrap();
        write(&cache, &view()).unwrap();
        assert!(read(&cache).unwrap().is_some(), "equal contents are current too");
    }
}
