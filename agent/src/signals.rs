//! The signals that reach the agent.
//!
//! What each of them does is a table in docs/agent.md, which a test goes through.

use std::future::{pending, poll_fn};
use std::task::{Context, Poll};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

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

/// Whether a signal is passed on to the program, unless something else is chosen.
#[must_use]
pub fn passed_on(signal: Signal) -> bool {
    let own = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    HEARD.contains(&signal) && !own.contains(&signal)
}

/// They say who has the terminal. Heard, so that they stop nobody.
const TERMINAL: &[Signal] = &[Signal::SIGTTIN, Signal::SIGTTOU];

/// Real-time signals. They have no names and cannot be sent by safe means; they end nobody.
const NAMELESS: std::ops::RangeInclusive<i32> = 34..=64;

/// From now on this thread, and those that it starts, may write to a terminal that the child has:
/// otherwise the whole process would be stopped for it. To be called before any thread is started.
pub fn hold_terminal() {
    // It cannot fail for a signal that there is; if it did, nothing but this would be lost.
    let _ = SigSet::from(Signal::SIGTTOU).thread_block();
}

/// Does something while this thread holds back no signal of the terminal, as a process that it starts shall not.
pub fn without_terminal<T>(work: impl FnOnce() -> T) -> T {
    let before = SigSet::from(Signal::SIGTTOU).thread_swap_mask(SigmaskHow::SIG_UNBLOCK);
    let done = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    done
}

#[derive(Debug, Clone, Copy)]
enum Heard {
    Named(Signal),
    Terminal,
    Nameless,
}

/// See the module.
#[derive(Debug)]
pub struct Signals {
    heard: mpsc::UnboundedReceiver<Signal>,
    _task: AbortOnDropHandle<()>,
}

impl Signals {
    /// From now on they do not end the process.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |number: i32, heard: Heard| {
            let stream = unix::signal(SignalKind::from_raw(number));
            stream
                .map(|stream| (heard, stream))
                .with_context(|| format!("listen for signal {number}"))
        };
        let named = HEARD.iter().map(|signal| listen(*signal as i32, Heard::Named(*signal)));
        let terminal = TERMINAL.iter().map(|signal| listen(*signal as i32, Heard::Terminal));
        let nameless = NAMELESS.map(|number| listen(number, Heard::Nameless));
        let mut streams: Vec<_> = named.chain(terminal).chain(nameless).collect::<Result<_, _>>()?;
        let (sender, heard) = mpsc::unbounded_channel();
        // A task of its own: whoever waits for the next one as well as for much else does not look at fifty
        // streams each time that something else has come.
        let task = tokio::spawn(async move {
            loop {
                let signal = poll_fn(|context| next(&mut streams, context)).await;
                if sender.send(signal).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            heard,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        match self.heard.recv().await {
            Some(signal) => signal,
            // The task lives as long as we do.
            None => pending().await,
        }
    }
}

fn next(streams: &mut [(Heard, unix::Signal)], context: &mut Context<'_>) -> Poll<Signal> {
    for (heard, stream) in streams {
        while stream.poll_recv(context).is_ready() {
            match heard {
                Heard::Named(signal) => return Poll::Ready(*signal),
                Heard::Terminal => {}
                Heard::Nameless => tracing::warn!("a real-time signal came; it is not passed on"),
            }
        }
    }
    Poll::Pending
}
