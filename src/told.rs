//! What a program says when it was told of another setting, so that the time until then can be measured.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use kvapi::Problem;
use kvapi::problem::exit;
use tokio::sync::mpsc;

/// What it says when it can be signalled, and when it was.
pub(crate) const READY: u8 = b'r';
pub(crate) const TOLD: u8 = b't';

/// Hears what programs say, on a thread of its own: nothing of ours stands between a word and its time.
pub(crate) fn listen(place: &Path) -> Result<mpsc::UnboundedReceiver<(u8, Instant)>, Problem> {
    let socket = UnixDatagram::bind(place)
        .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("listen on {}: {e}", place.display())))?;
    let (sender, words) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut word = [0];
        while socket.recv(&mut word).is_ok() && sender.send((word[0], Instant::now())).is_ok() {}
    });
    Ok(words)
}

/// Says a word to whoever listens there.
pub(crate) fn tell(place: &Path, word: u8) -> Result<(), Problem> {
    let say = || -> io::Result<usize> { UnixDatagram::unbound()?.send_to(&[word], place) };
    say()
        .map(drop)
        .map_err(|e| Problem::new(exit::UNAVAILABLE, format!("tell {}: {e}", place.display())))
}
