//! Asks whether the program does well with its new files.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kvapi::connect;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::child;
use crate::policy::{Confirm, Probe};
use crate::reap::Reaper;

/// Asks until the answer is good, or was bad as often as it may be; the error tells the last one. Dropped, it
/// takes the command that it runs with it.
pub async fn ask(reaper: &Reaper, confirm: &Confirm) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..confirm.attempts {
        sleep(confirm.interval).await;
        match timeout(confirm.timeout, once(reaper, &confirm.probe)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => last = reason,
            Err(_) => {
                let limit = kvapi::duration::format(confirm.timeout);
                last = format!("it took longer than {limit} (confirm.timeout)");
            }
        }
    }
    let times = match confirm.attempts {
        1 => "failed".to_owned(),
        more => format!("failed {more} times, at last"),
    };
    Err(format!("{} {times}: {last}", confirm.probe))
}

async fn once(reaper: &Reaper, probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::Command(command) => child::run(reaper, command, &[].into(), Duration::MAX).await,
        Probe::Http(uri) => get(uri).await,
    }
}

/// Good is a status of 200 to 399.
async fn get(uri: &Uri) -> Result<(), String> {
    let stream = connect::tcp(uri).await.map_err(|error| error.to_string())?;
    let connection = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connection.map_err(|error| error.to_string())?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, "keyway-agent")
        .body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|error| error.to_string())?).await;
    let status = answer.map_err(|error| error.to_string())?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("it answered {status}"))
    }
}
