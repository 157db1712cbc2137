//! The end of what a task wrote, and what it writes from then on.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use bytes::Bytes;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::ready::readable;

/// How much of a file is looked through for its last lines, and how much is read at once.
const PIECE: u64 = 1 << 20;

/// How many pieces wait for a slow reader.
const AHEAD: usize = 4;

/// One file that is read on and on.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    /// What is before has been read.
    at: u64,
    /// A line whose end has not been written yet.
    begun: Vec<u8>,
}

/// The last `lines` of each file, and, if there is something to wait for until their end, what is written to them until
/// then, in whole lines. Ends early when nobody receives any more.
pub(super) async fn tail(
    paths: Vec<PathBuf>,
    lines: usize,
    until: Option<impl Future<Output = ()> + Send + 'static>,
) -> io::Result<mpsc::Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Before the first look: what is written after that look is told.
    let changes = until.is_some().then(|| Changes::of(&paths)).transpose()?;
    let (sources, first) = tokio::task::spawn_blocking(move || begin(paths, lines)).await??;
    tokio::spawn(async move {
        let wanted = first.is_empty() || sender.send(first).await.is_ok();
        if let (true, Some(until), Some(changes)) = (wanted, until, changes) {
            // A file that cannot be read any more has come to its end.
            let _ = follow(sources, &sender, changes, until).await;
        }
    });
    Ok(receiver)
}

fn begin(paths: Vec<PathBuf>, lines: usize) -> io::Result<(Vec<Source>, Bytes)> {
    let (mut sources, mut first) = (Vec::new(), Vec::new());
    for path in paths {
        let (text, at) = match File::open(&path) {
            Ok(file) => last_lines(file, lines)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0),
            Err(error) => return Err(error),
        };
        first.extend_from_slice(&text);
        sources.push(Source {
            path,
            at,
            begun: Vec::new(),
        });
    }
    Ok((sources, first.into()))
}

/// The last lines of a file as it is now, with the length that it has.
fn last_lines(mut file: File, lines: usize) -> io::Result<(Vec<u8>, u64)> {
    let end = file.metadata()?.len();
    let from = end.saturating_sub(PIECE);
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(end - from).read_to_end(&mut text)?;
    let body = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut starts = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let start = match lines.checked_sub(1) {
        Some(more) => starts.nth(more).map_or(0, |(at, _)| at + 1),
        None => text.len(),
    };
    text.drain(..start);
    Ok((text, end))
}

async fn follow(
    mut sources: Vec<Source>,
    sender: &mpsc::Sender<Bytes>,
    mut changes: Changes,
    until: impl Future<Output = ()>,
) -> io::Result<()> {
    tokio::pin!(until);
    let mut ended = false;
    loop {
        loop {
            let (read, text) = tokio::task::spawn_blocking(move || more(sources, ended)).await??;
            sources = read;
            if text.is_empty() {
                break;
            }
            if sender.send(text).await.is_err() {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
        tokio::select! {
            seen = changes.next() => seen?,
            () = &mut until => ended = true,
            () = sender.closed() => return Ok(()),
        }
    }
}

/// What has been written since; at the end also a line that has none.
fn more(mut sources: Vec<Source>, ended: bool) -> io::Result<(Vec<Source>, Bytes)> {
    let mut text = Vec::new();
    for source in &mut sources {
        let Ok(mut file) = File::open(&source.path) else {
            continue;
        };
        if file.metadata()?.len() < source.at {
            // It was rotated.
            source.at = 0;
        }
        file.seek(SeekFrom::Start(source.at))?;
        let read = file.take(PIECE).read_to_end(&mut source.begun)?;
        source.at += read as u64;
        let whole = match source.begun.iter().rposition(|byte| *byte == b'\n') {
            _ if ended && read == 0 => source.begun.len(),
            _ if source.begun.len() as u64 > PIECE => source.begun.len(),
            Some(at) => at + 1,
            None => 0,
        };
        text.extend(source.begun.drain(..whole));
        if whole == 0 && read > 0 && ended {
            // There is more to come, if not now.
            text.append(&mut source.begun);
        }
    }
    Ok((sources, text.into()))
}

/// Word from the kernel that files have changed.
#[derive(Debug)]
struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    fn of(paths: &[PathBuf]) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        for path in paths {
            match inotify::add_watch(&fd, path, inotify::WatchFlags::MODIFY) {
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self(readable(fd)?))
    }

    async fn next(&mut self) -> io::Result<()> {
        let mut guard = self.0.readable_mut().await?;
        // Whatever it says, everything is looked at.
        let mut words = [0; 4096];
        while rustix::io::read(guard.get_inner(), &mut words).is_ok_and(|read| read > 0) {}
        guard.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_last_lines_are_the_last_lines() {
        for (text, lines, last) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 5, "a\nb\n"),
            ("a\n\n\n", 2, "\n\n"),
            ("a\nb\n", 0, ""),
            ("", 3, ""),
        ] {
            let (read, end) = last_lines(file(text).reopen().unwrap(), lines).unwrap();
            assert_eq!(
                (String::from_utf8(read).unwrap(), end),
                (last.to_owned(), text.len() as u64),
                "{text:?} {lines}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_written_from_then_on_comes_in_whole_lines_until_the_end() {
        let mut log = file("old\nlast\n");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let until = async move { ended.await.unwrap_or_default() };
        let mut lines = tail(vec![log.path().to_owned()], 1, Some(until)).await.unwrap();
        assert_eq!(lines.recv().await.unwrap(), "last\n");

        log.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.recv().await.unwrap(), "one\n");
        log.write_all(b"o\n").unwrap();
        assert_eq!(lines.recv().await.unwrap(), "two\n");

        log.as_file().set_len(0).unwrap();
        log.rewind().unwrap();
        log.write_all(b"new\nunfinished").unwrap();
        assert_eq!(lines.recv().await.unwrap(), "new\n");
        end.send(()).unwrap();
        assert_eq!(lines.recv().await.unwrap(), "unfinished");
        assert_eq!(lines.recv().await, None);
    }
}
