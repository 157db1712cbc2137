//! What was compacted says so, in reads, on the command line and in watches, and still does after a
//! restart and after a kill.

use anyhow::ensure;
use http::HeaderMap;
use kvapi::Revision;
use kvapi::types::WatchEvent;
use nix::sys::signal::Signal;

use crate::harness::{Home, Server, Stream, test};

#[test]
fn what_was_compacted_says_so_everywhere_and_after_every_start() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        let mut revisions = Vec::new();
        for value in ["one", "two", "three", "four"] {
            server.put("app/port", value).await?;
            revisions.push(server.revision("app/port").await?);
            server.put("app/other", value).await?;
        }
        let body = serde_json::json!({ "CompactTo": revisions[2] }).to_string();
        let done = server
            .client()
            .send("PUT".parse()?, "/v1/history", body.into(), HeaderMap::new())
            .await?;
        ensure!(done.status == 200, "{done:?}");

        says_so(&server, home, &revisions).await?;
        server.stop().await?;
        server.restart(home).await?;
        says_so(&server, home, &revisions).await?;
        server.program.signal(Signal::SIGKILL)?;
        server.restart(home).await?;
        says_so(&server, home, &revisions).await
    });
}

async fn says_so(server: &Server, home: &Home, revisions: &[u64]) -> anyhow::Result<()> {
    let (gone, oldest, newer) = (revisions[1], revisions[2], revisions[3]);
    for path in ["app/port?raw", "app/?recurse", "app/?keys", "?count"] {
        let ask = async |revision| {
            let path = format!("/v1/kv/{path}&revision={revision}");
            server.request("GET", &path, &[]).await
        };
        let refused = ask(gone).await?;
        ensure!(refused.status == 410, "{path}: {refused:?}");
        ensure!(
            refused.headers["x-keyway-oldest"] == oldest.to_string().as_str(),
            "{path}: {refused:?}"
        );
        ensure!(
            refused.body == format!("revision {gone} is no longer kept; the oldest kept is {oldest}"),
            "{path}: {refused:?}"
        );
        ensure!(ask(oldest).await?.status == 200, "{path}");
    }
    let rev = |revision: u64| revision.to_string();
    let said = server
        .kv(home, &["get", "app/port", "--rev", &rev(gone)])
        .await?
        .expect(1)?;
    ensure!(
        said.err.contains(&format!("revision {gone} is no longer kept")),
        "{}",
        said.err
    );
    let said = server
        .kv(home, &["export", "app", "--rev", &rev(gone)])
        .await?
        .expect(1)?;
    let told = format!("error[E0407]: revision {gone} is no longer kept; the oldest kept is {oldest}\n");
    ensure!(
        said.err.starts_with(&told) && said.err.contains("help: "),
        "{}",
        said.err
    );
    for (revision, value) in [(oldest, "three"), (newer, "four")] {
        let said = server.kv(home, &["get", "app/port", "--rev", &rev(revision)]).await?;
        ensure!(said.expect(0)?.text() == value);
    }

    let query = format!("key=app/port&since={gone}");
    let mut stream = Stream::get(server, &query, &[]).await?;
    match stream.next().await? {
        WatchEvent::Compacted(gap) => {
            ensure!((gap.since, gap.oldest) == (Revision(gone), Revision(oldest)), "{gap:?}");
        }
        other => anyhow::bail!("not compacted: {other:?}"),
    }
    let snapshot = stream.snapshot().await?;
    ensure!(snapshot.entries.len() == 1 && snapshot.entries[0].value == "four");
    let mut stream = Stream::get(server, &format!("key=app/port&since={oldest}"), &[]).await?;
    ensure!(
        stream.change().await?.revision == Revision(newer),
        "it goes on after the oldest"
    );
    Ok(())
}
