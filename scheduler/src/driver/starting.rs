//! Starts that are under way, and can be called off as long as nothing of their task is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Refusal, TaskId};

/// All of one driver. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Starting(Arc<Mutex<HashMap<TaskId, Arc<Notify>>>>);

/// One that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Start {
    task: TaskId,
    called_off: Arc<Notify>,
    all: Starting,
}

impl Starting {
    pub(super) fn begin(&self, task: &TaskId) -> Start {
        let called_off = Arc::new(Notify::new());
        self.all().insert(task.clone(), Arc::clone(&called_off));
        Start {
            task: task.clone(),
            called_off,
            all: self.clone(),
        }
    }

    /// One that is not under way, or has come too far, is none the worse.
    pub(super) fn call_off(&self, task: &TaskId) {
        if let Some(called_off) = self.all().get(task) {
            called_off.notify_one();
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Start {
    /// Does a part that may be left in its middle.
    pub(super) async fn unless_called_off<T>(&self, part: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            () = self.called_off.notified() => Err(Refusal::CalledOff),
            done = part => Ok(done),
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        self.all.all().remove(&self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_start_is_called_off_in_the_middle_of_what_may_be_left_and_before_it() {
        let starting = Starting::default();
        let task = TaskId("web.instance-1._app.1".into());
        let start = starting.begin(&task);
        assert_eq!(start.unless_called_off(async { 1 }).await, Ok(1));
        let mut pending = Box::pin(start.unless_called_off(std::future::pending::<()>()));
        assert!(futures_util::poll!(&mut pending).is_pending());

        starting.call_off(&task);
        starting.call_off(&TaskId("another".into()));

        assert_eq!(pending.await, Err(Refusal::CalledOff));
        starting.call_off(&task);
        assert_eq!(start.unless_called_off(async { 1 }).await, Err(Refusal::CalledOff));
        drop(start);
        assert!(starting.all().is_empty());
    }
}
