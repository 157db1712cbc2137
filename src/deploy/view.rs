//! How far a deployment is, on stderr: one block in place on a terminal, else a line for each thing that happens; JSON lines
//! are for whoever reads stdout.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Instant, SystemTime};

use serde::Serialize;

use super::block::{Room, block};
use super::deployment::Deployment;
use super::told::Teller;
use crate::failure::Failure;
use crate::globals::ProgressStyle;
use crate::output::{Out, moment};
use crate::paint::Paint;
use crate::settings::Settings;

/// See the module.
pub(crate) struct View {
    style: ProgressStyle,
    teller: Teller,
    paint: Paint,
    began: Instant,
    /// Lines of the block that stands there.
    drawn: usize,
    shown: Option<Deployment>,
    last: Option<String>,
}

/// One line of `-o json` while it goes on.
#[derive(Serialize)]
struct Progress<'a> {
    event: &'static str,
    #[serde(flatten)]
    deployment: &'a Deployment,
}

impl View {
    pub(crate) fn new(settings: &Settings, out: &Out) -> Self {
        let style = match settings.progress {
            _ if settings.quiet => ProgressStyle::Quiet,
            ProgressStyle::Auto if out.is_json() => ProgressStyle::Quiet,
            ProgressStyle::Auto if io::stderr().is_terminal() => ProgressStyle::Tty,
            ProgressStyle::Auto => ProgressStyle::Plain,
            named => named,
        };
        Self {
            style,
            teller: Teller::default(),
            paint: out.paint_words(),
            began: Instant::now(),
            drawn: 0,
            shown: None,
            last: None,
        }
    }

    /// It is like this now.
    pub(crate) fn show(&mut self, deployment: &Deployment, out: &mut Out) -> Result<(), Failure> {
        if out.is_json() {
            let event = "progress";
            out.json_line(&Progress { event, deployment })?;
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or_default());
        let lines = self.teller.lines(now, deployment);
        match self.style {
            ProgressStyle::Plain | ProgressStyle::Auto => {
                let time = moment::utc(now);
                // Nothing depends on it, so that nobody reads it is no failure.
                let text: String = lines.iter().map(|line| format!("{time} {line}\n")).collect();
                let _ = io::stderr().write_all(text.as_bytes());
            }
            ProgressStyle::Json => {
                let line = serde_json::json!(Progress {
                    event: "progress",
                    deployment
                });
                let _ = writeln!(io::stderr(), "{line}");
            }
            ProgressStyle::Tty => {
                // The head and the bars say how many.
                let last = lines.into_iter().rfind(|line| !line.ends_with(" healthy"));
                self.last = last.or_else(|| self.last.take());
                self.shown = Some(deployment.clone());
                self.draw();
            }
            ProgressStyle::Quiet => {}
        }
        Ok(())
    }

    /// Time passes.
    pub(crate) fn tick(&mut self) {
        if self.shown.as_ref().is_some_and(Deployment::is_running) {
            self.draw();
        }
    }

    /// What comes is below what stands there.
    pub(crate) fn leave(&mut self) {
        self.drawn = 0;
        self.shown = None;
        self.last = None;
    }

    fn draw(&mut self) {
        let Some(deployment) = self.shown.as_ref().filter(|_| self.style == ProgressStyle::Tty) else {
            return;
        };
        let size = terminal_size::terminal_size_of(io::stderr());
        let room = size.map_or(Room { width: 80, height: 24 }, |(width, height)| Room {
            width: usize::from(width.0).max(20),
            height: usize::from(height.0).max(6),
        });
        let elapsed = deployment.is_running().then(|| self.began.elapsed());
        let lines = block(deployment, elapsed, self.last.as_deref(), room, self.paint);
        let back = match self.drawn {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A"),
        };
        let text: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        let _ = write!(io::stderr(), "{back}\r{text}\x1b[J");
        self.drawn = lines.len();
    }
}
