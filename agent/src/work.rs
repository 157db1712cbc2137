//! What the loop has started, and how it ends.
//!
//! Each piece of work brings back a `T` when it is over. Three kinds: what only looks is left
//! alone at the end, what may be cut short is, and what changes files is done one after another
//! and waited for. So an end leaves nothing half done.

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// See the module.
#[derive(Debug)]
pub struct Work<T> {
    sender: mpsc::UnboundedSender<T>,
    done: mpsc::UnboundedReceiver<T>,
    /// Everything that has to be over before the end.
    running: TaskTracker,
    /// Cuts short what may be.
    stop: CancellationToken,
    /// The last change of files; the next one begins when it is over.
    last: Option<JoinHandle<()>>,
}

impl<T> Default for Work<T> {
    fn default() -> Self {
        let (sender, done) = mpsc::unbounded_channel();
        Self {
            sender,
            done,
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
            last: None,
        }
    }
}

impl<T: Send + 'static> Work<T> {
    /// What the next piece of work that is over brings. Cancel-safe; `None` never comes.
    pub async fn next(&mut self) -> Option<T> {
        self.done.recv().await
    }

    /// Starts what may be cut short at the end.
    pub fn start(&self, work: impl Future<Output = T> + Send + 'static) {
        self.start_with(|stop| async move { stop.run_until_cancelled(work).await });
    }

    /// Starts what cuts itself short when it is told to; then it brings nothing.
    pub fn start_with<F>(&self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let (sender, work) = (self.sender.clone(), work(self.stop.clone()));
        self.running.spawn(async move { send(&sender, work.await) });
    }

    /// Starts a change of files: done after those before it, and before the end.
    pub fn in_order(&mut self, work: impl FnOnce() -> Option<T> + Send + 'static) {
        let (sender, before) = (self.sender.clone(), self.last.take());
        self.last = Some(self.running.spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            send(&sender, spawn_blocking(work).await.ok().flatten());
        }));
    }

    /// Starts what blocks and changes nothing; nobody waits for it at the end.
    pub fn look(&self, work: impl FnOnce() -> T + Send + 'static) {
        let sender = self.sender.clone();
        spawn_blocking(move || send(&sender, Some(work())));
    }

    /// How a thread that is not ours brings something.
    pub fn bring(&self) -> impl FnOnce(T) + Send + use<T> {
        let sender = self.sender.clone();
        move |done| send(&sender, Some(done))
    }

    /// Cuts short what may be, and returns when all that has to be is over.
    pub async fn finish(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

fn send<T>(sender: &mpsc::UnboundedSender<T>, done: Option<T>) {
    if let Some(done) = done {
        // Nobody listens any more only at the end.
        let _ = sender.send(done);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_changes_in_their_order_and_for_nothing_else() {
        let mut work = Work::<u32>::default();
        let log = Arc::new(Mutex::new(Vec::new()));
        work.start(pending());
        for number in 0..20 {
            let log = Arc::clone(&log);
            work.in_order(move || {
                log.lock().unwrap().push(number);
                (number % 2 == 0).then_some(number)
            });
        }

        work.finish().await;

        assert_eq!(*log.lock().unwrap(), (0..20).collect::<Vec<_>>());
        assert_eq!((work.next().await, work.next().await), (Some(0), Some(2)));
    }
}
