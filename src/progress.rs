//! How far a long work is, on stderr: one line in place on a terminal, else a line now and then.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant, SystemTime};

use crate::globals::ProgressStyle;
use crate::output::moment;
use crate::settings::Settings;

/// See the module.
pub(crate) struct Progress {
    style: Shown,
    /// What is done, such as `export`.
    work: &'static str,
    total: Option<u64>,
    started: Instant,
    next: Instant,
    shown: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    InPlace,
    Lines {
        /// Whether a work that was quick is told too.
        always: bool,
    },
    Json,
    Nothing,
}

impl Progress {
    pub(crate) fn new(settings: &Settings, work: &'static str, total: Option<u64>) -> Self {
        let style = match settings.progress {
            _ if settings.style.quiet => Shown::Nothing,
            ProgressStyle::Quiet => Shown::Nothing,
            ProgressStyle::Tty => Shown::InPlace,
            ProgressStyle::Auto if io::stderr().is_terminal() => Shown::InPlace,
            ProgressStyle::Auto => Shown::Lines { always: false },
            ProgressStyle::Plain => Shown::Lines { always: true },
            ProgressStyle::Json => Shown::Json,
        };
        let now = Instant::now();
        Self {
            style,
            work,
            total,
            started: now,
            next: now + style.patience(),
            shown: false,
        }
    }

    /// So many keys are done; shown if it is time.
    pub(crate) fn at(&mut self, done: u64) {
        if Instant::now() >= self.next {
            self.show(done);
            self.next = Instant::now() + self.style.pause();
        }
    }

    /// All is done.
    pub(crate) fn end(&mut self, done: u64) {
        let tell = match self.style {
            Shown::InPlace | Shown::Lines { always: false } => self.shown,
            Shown::Lines { always: true } | Shown::Json => true,
            Shown::Nothing => false,
        };
        if tell {
            self.show(done);
        }
        if self.style == Shown::InPlace && self.shown {
            let _ = writeln!(io::stderr());
        }
    }

    fn show(&mut self, done: u64) {
        self.shown = true;
        let (work, total) = (self.work, self.total);
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let seconds = self.started.elapsed().as_secs_f64();
        // Nothing depends on it, so that nobody reads it is no failure.
        let _ = match self.style {
            Shown::InPlace => write!(io::stderr(), "\r\x1b[K{work}: {done}{of} keys, {seconds:.0} s"),
            Shown::Lines { .. } => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = moment::utc(now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or_default()));
                writeln!(io::stderr(), "{now} {work}: {done}{of} keys")
            }
            Shown::Json => {
                let line = serde_json::json!({"progress": work, "done": done, "total": total, "seconds": seconds});
                writeln!(io::stderr(), "{line}")
            }
            Shown::Nothing => Ok(()),
        };
    }
}

impl Shown {
    /// How long a work may take unseen.
    fn patience(self) -> Duration {
        match self {
            Self::InPlace => Duration::from_millis(300),
            Self::Lines { .. } | Self::Json | Self::Nothing => Duration::from_secs(2),
        }
    }

    fn pause(self) -> Duration {
        match self {
            Self::InPlace => Duration::from_millis(100),
            Self::Lines { .. } | Self::Json | Self::Nothing => Duration::from_secs(5),
        }
    }
}
