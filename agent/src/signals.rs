//! The signals that reach the agent.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};

/// All that are listened to. SIGCHLD is [`crate::reap`]'s, SIGPIPE may be of our own
/// making; the rest keep their meaning.
const HEARD: &[Signal] = &[
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
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

/// See the module.
#[derive(Debug)]
pub struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// From now on they do not end the process.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |signal: Signal| {
            let stream = unix::signal(SignalKind::from_raw(signal as i32));
            stream
                .map(|stream| (signal, stream))
                .with_context(|| format!("listen for {signal}"))
        };
        Ok(Self {
            streams: HEARD.iter().copied().map(listen).collect::<Result<_, _>>()?,
        })
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}
