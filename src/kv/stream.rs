//! Everything in a folder, one entry after the other, as it comes: the memory of a million keys is the
//! server's, not ours. One answer, so that all of it is of one revision.

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use kvapi::client::encode_key;
use kvapi::problem::exit;
use kvapi::types::header;
use kvapi::{Client, Consistency, Entry, Problem, Revision};
use tokio::time::timeout;

use super::folder::Folder;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::settings::Settings;
use agent::document::Bad;
use agent::document::consul::Pieces;

/// Gives `found` each entry, in byte order of the keys.
pub(super) async fn entries(
    settings: &Settings,
    client: &Client,
    folder: &Folder,
    revision: Option<u64>,
    mut found: impl FnMut(Entry) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = path(settings, folder, revision);
    let mut connection = connect(settings, client).await?;
    let late =
        || Problem::new(exit::TIMEOUT, "the server sent nothing more in time").help("give it longer with --timeout");
    let patience = settings.timeout;
    let answer = timeout(patience, connection.begin(Method::GET, &path, bytes::Bytes::new()));
    let (head, mut body) = answer.await.map_err(|_| late())??.into_parts();
    match head.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(()),
        status => {
            let text = timeout(patience, body.collect()).await.map_err(|_| late())?;
            let text = text.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned());
            let oldest = head
                .headers
                .get(header::OLDEST)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(refused(status, text.unwrap_or_default(), revision, oldest).into());
        }
    }
    let cut_off = |e: &dyn std::fmt::Display| {
        Problem::new(exit::UNAVAILABLE, format!("the answer is cut off: {e}")).help("nothing is lost; try again")
    };
    let mut pieces = Pieces::default();
    while let Some(frame) = timeout(patience, body.frame()).await.map_err(|_| late())? {
        let Ok(data) = frame.map_err(|e| cut_off(&e))?.into_data() else {
            continue;
        };
        pieces
            .push(&data, |line, object| {
                let entry: Entry = serde_json::from_slice(object).map_err(|e| {
                    Stopped::from(Bad {
                        line: Some(line),
                        what: e.to_string(),
                    })
                })?;
                if folder.covers(&entry.key) {
                    found(entry).map_err(Stopped)?;
                }
                Ok::<(), Stopped>(())
            })
            .map_err(|stopped| stopped.0)?;
    }
    pieces.finish().map_err(|e| cut_off(&e))?;
    Ok(())
}

/// Why the pieces are no longer wanted.
struct Stopped(Failure);

impl From<Bad> for Stopped {
    fn from(bad: Bad) -> Self {
        Self(Problem::new(exit::UNAVAILABLE, format!("the answer is not a list of entries: {bad}")).into())
    }
}

fn path(settings: &Settings, folder: &Folder, revision: Option<u64>) -> String {
    let mut path = format!("/v1/kv/{}?recurse", encode_key(folder.prefix()));
    match settings.consistency {
        Consistency::Default => {}
        Consistency::Consistent => path.push_str("&consistent"),
        Consistency::Stale => path.push_str("&stale"),
    }
    if let Some(revision) = revision {
        path.push_str(&format!("&revision={revision}"));
    }
    path
}

/// The first address that takes a connection.
async fn connect(settings: &Settings, client: &Client) -> Result<Connection, Failure> {
    let mut last = Problem::new(exit::USAGE, "no address to ask");
    for address in client.addresses() {
        match timeout(settings.timeout, Connection::open(address)).await {
            Ok(Ok(mut connection)) => {
                if let Some(token) = &settings.token {
                    connection.always_send(header::TOKEN, token)?;
                }
                return Ok(connection);
            }
            Ok(Err(problem)) => last = problem,
            Err(_) => last = Problem::new(exit::TIMEOUT, format!("no connection to {address} in time")),
        }
    }
    Err(last
        .help("is the server running? Start one with `keyway dev`, or name it with --addr or KEYWAY_ADDR")
        .into())
}

/// `asked` is the revision that was asked for, `oldest` the one that the server says it still has.
fn refused(status: StatusCode, text: String, asked: Option<u64>, oldest: Option<u64>) -> Problem {
    let error = match (status, asked, oldest) {
        (StatusCode::GONE, Some(asked), Some(oldest)) => kvapi::Error::Compacted {
            asked: Revision(asked),
            oldest: Revision(oldest),
        },
        _ => kvapi::Error::Refused { status, text },
    };
    error.into()
}
