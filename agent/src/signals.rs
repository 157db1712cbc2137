//! The signals that reach the agent.
//!
//! What each of them does is a table in docs/agent.md, which a test goes through.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{self, SignalKind};

/// All that are listened to. SIGCHLD is [`crate::reap`]'s, SIGPIPE may be of our own making, SIGURG
/// says nothing to anybody; the rest are faults of ours, or of a terminal.
const HEARD: &[Signal] = &[
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGABRT,
    Signal::SIGTRAP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
    Signal::SIGSTKFLT,
    Signal::SIGSYS,
];

/// Real-time signals. They have no names and cannot be sent by safe means; they end nobody.
const NAMELESS: std::ops::RangeInclusive<i32> = 34..=64;

/// From now on this thread, and those that it starts, may write to a terminal that the child has:
/// otherwise the whole process would be stopped for it. To be called before any thread is started.
pub fn hold_terminal() {
    let terminal: SigSet = [Signal::SIGTTIN, Signal::SIGTTOU].into_iter().collect();
    // It cannot fail for signals that there are; if it did, nothing but this would be lost.
    let _ = terminal.thread_block();
}

/// See the module.
#[derive(Debug)]
pub struct Signals {
    streams: Vec<(Option<Signal>, unix::Signal)>,
}

impl Signals {
    /// From now on they do not end the process.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |number: i32, signal: Option<Signal>| {
            let stream = unix::signal(SignalKind::from_raw(number));
            stream
                .map(|stream| (signal, stream))
                .with_context(|| format!("listen for signal {number}"))
        };
        let named = HEARD.iter().map(|signal| listen(*signal as i32, Some(*signal)));
        let nameless = NAMELESS.map(|number| listen(number, None));
        Ok(Self {
            streams: named.chain(nameless).collect::<Result<_, _>>()?,
        })
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                while stream.poll_recv(context).is_ready() {
                    match signal {
                        Some(signal) => return Poll::Ready(*signal),
                        None => tracing::warn!("a real-time signal came; it is not passed on"),
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}
