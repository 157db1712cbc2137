//! A deployment's news as they come, over every reconnect.

use std::time::Duration;

use http_body_util::BodyExt as _;
use kvapi::Problem;
use kvapi::client::encode_key;
use kvapi::problem::exit;
use kvapi::sse::Parser;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep, timeout};

use super::deployment::Deployment;
use super::scheduler::Scheduler;
use super::told::kind;

/// After so long without a word the connection is taken for dead. The first event of the next one says how it is.
const SILENCE: Duration = Duration::from_secs(20);

/// How long no scheduler may answer: as long as another one needs to notice that one is gone, and more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(300);

/// News of a deployment: how it is now and whenever that changes; the last is its end. Dropped, nothing is asked any more.
pub(crate) fn news(scheduler: &Scheduler, id: &str) -> Receiver<Result<Deployment, Problem>> {
    let (sender, receiver) = channel(1);
    let (scheduler, id) = (scheduler.clone(), id.to_owned());
    tokio::spawn(async move { pump(&scheduler, &id, &sender).await });
    receiver
}

/// Gone on as long as somebody listens.
async fn pump(scheduler: &Scheduler, id: &str, sender: &Sender<Result<Deployment, Problem>>) {
    let (mut heard, mut told) = (Instant::now(), None);
    loop {
        let trouble = match one(scheduler, id, sender, &mut heard, &mut told).await {
            Ok(true) => return,
            Ok(false) => None,
            Err(problem) => Some(problem),
        };
        // What is not there does not come by waiting.
        let is_final = trouble
            .as_ref()
            .is_some_and(|problem| problem.code != exit::UNAVAILABLE);
        if let Some(problem) = trouble.filter(|_| is_final || heard.elapsed() > PATIENCE) {
            drop(sender.send(Err(problem)).await);
            return;
        }
        if sender.is_closed() {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// One connection; whether all is told.
async fn one(
    scheduler: &Scheduler,
    id: &str,
    sender: &Sender<Result<Deployment, Problem>>,
    heard: &mut Instant,
    told: &mut Option<Deployment>,
) -> Result<bool, Problem> {
    let path = format!("/v1/deployments/{}/events", encode_key(id));
    let unavailable = |what: String| Problem::new(exit::UNAVAILABLE, what);
    let opened = scheduler.open(&path, "text/event-stream").await;
    let mut body = opened
        .map_err(|problem| match problem.code {
            exit::TIMEOUT => Problem {
                code: exit::UNAVAILABLE,
                ..problem
            },
            _ => problem,
        })?
        .into_body();
    let mut parser = Parser::default();
    loop {
        let frame = match timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(e))) => return Err(unavailable(format!("the scheduler's answer broke off: {e}"))),
            Ok(None) | Err(_) => return Ok(false),
        };
        *heard = Instant::now();
        let Ok(data) = frame.into_data() else { continue };
        for event in parser.push(&data).into_iter().filter(|event| event.name == "progress") {
            let deployment: Deployment = serde_json::from_str(&event.data)
                .map_err(|e| Problem::new(exit::BUG, format!("the scheduler told what does not fit: {e}")))?;
            // Another connection begins with what was told already, and that time passes is no news.
            let bare = bare(&deployment);
            if told.replace(bare.clone()) == Some(bare) {
                continue;
            }
            let is_over = !deployment.is_running();
            if sender.send(Ok(deployment)).await.is_err() || is_over {
                return Ok(true);
            }
        }
    }
}

/// Without the numbers that count down.
fn bare(deployment: &Deployment) -> Deployment {
    let mut bare = deployment.clone();
    for reason in bare.apps.iter_mut().flat_map(|part| &mut part.waiting) {
        *reason = kind(reason).to_owned();
    }
    bare
}
