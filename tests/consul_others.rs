//! `consul lock`, `watch`, `members`, `info` and `operator raft list-peers`: the program through a symlink named
//! `consul`, with the texts and codes of Consul 1.22's own command, and in one line with `keyway kv lock`.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Exit, Home, Keyway, Program, Server, eventually, holds, test};

fn consul(home: &Home, server: &Server) -> anyhow::Result<Keyway> {
    Ok(Keyway::consul(home)?.env("CONSUL_HTTP_ADDR", &server.address.to_string()))
}

/// Code, output and errors of a command.
async fn said(home: &Home, server: &Server, arguments: &[&str]) -> anyhow::Result<(Exit, String, String)> {
    let said = consul(home, server)?.run(arguments).await?;
    Ok((said.exit, said.text(), said.err))
}

/// A command that says `in`, and runs until it is told to end, which it says too.
const HOLD: &str = "trap 'echo told; exit 0' TERM; echo in; while :; do sleep 0.05; done";

async fn holder(home: &Home, server: &Server, name: &str, flags: &[&str]) -> anyhow::Result<Program> {
    let arguments = [&["lock"], flags, &["jobs/n", HOLD]].concat();
    let holder = consul(home, server)?.start(home, name, &arguments)?;
    holds("the lock is held", async || holder.output().contains("in\n")).await?;
    Ok(holder)
}

const IN_VAIN: &str = "Shutdown triggered or timeout during lock acquisition\n";

#[test]
fn consul_lock_runs_a_command_and_says_what_it_does() {
    test(async |home| {
        let server = Server::start(home).await?;
        let verbose = said(
            home,
            &server,
            &["lock", "-verbose", "/jobs//n/", "echo $CONSUL_LOCK_HELD;", "exit", "3"],
        );
        let lines = "Setting up lock at path: jobs/n/.lock\nAttempting lock acquisition\ntrue\n\
                     Child terminated, releasing lock\nCleanup succeeded\n";
        assert_eq!(verbose.await?, (Exit::Code(0), lines.to_owned(), String::new()));
        for (arguments, code, out, err) in [
            (vec!["lock", "-child-exit-code", "jobs/n", "exit 3"], 2, "", ""),
            (vec!["lock", "-child-exit-code", "jobs/n", "true"], 0, "", ""),
            (
                vec!["lock", "-shell=false", "jobs/n", "echo", "$a", "b  c"],
                0,
                "$a b  c\n",
                "",
            ),
            (
                vec!["lock", "-n=3", "jobs/s", "echo one of three"],
                0,
                "one of three\n",
                "",
            ),
            (
                vec!["lock", "-n=0", "jobs/n", "true"],
                1,
                "",
                "Lock holder limit must be positive\n",
            ),
            (
                vec!["lock", "-timeout=-1s", "jobs/n", "true"],
                1,
                "",
                "Timeout must be positive\n",
            ),
            (
                vec!["lock", "-monitor-retry=-1", "jobs/n", "true"],
                1,
                "",
                "Number for 'monitor-retry' must be >= 0\n",
            ),
        ] {
            let expected = (Exit::Code(code), out.to_owned(), err.to_owned());
            assert_eq!(said(home, &server, &arguments).await?, expected, "{arguments:?}");
        }
        let unsaid = said(home, &server, &["lock", "jobs/n"]).await?;
        assert!(
            unsaid
                .2
                .starts_with("Key prefix and child command must be specified\n\nUsage: "),
            "{unsaid:?}"
        );
        let input = consul(home, &server)?.stdin("from outside");
        assert_eq!(
            input.run(&["lock", "-pass-stdin", "jobs/n", "cat"]).await?.text(),
            "from outside"
        );
        let input = consul(home, &server)?.stdin("from outside");
        assert_eq!(input.run(&["lock", "jobs/n", "cat"]).await?.text(), "");
        let nobody = Keyway::consul(home)?.env("CONSUL_HTTP_ADDR", "127.0.0.1:1");
        let refused = nobody.run(&["lock", "jobs/n", "true"]).await?.expect(1)?;
        let why = "Error querying Consul agent: Get \"http://127.0.0.1:1/v1/agent/self\": \
                   dial tcp 127.0.0.1:1: connect: connection refused\n";
        assert_eq!(refused.err, why);
        // Nothing of it is left.
        assert_eq!(&*server.request("GET", "/v1/session/list", &[]).await?.body, b"[]");
        assert_eq!(&*server.request("GET", "/v1/kv/?keys", &[]).await?.body, b"[]");
        Ok(())
    });
}

#[test]
fn consul_lock_and_keyway_kv_lock_stand_in_one_line() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut holder = holder(home, &server, "consul", &["-name=nightly"]).await?;
        let sessions = server.request("GET", "/v1/session/list", &[]).await?;
        let sessions: Value = serde_json::from_slice(&sessions.body)?;
        assert_eq!(
            (&sessions[0]["Name"], &sessions[0]["TTL"]),
            (&json!("nightly"), &json!("15s"))
        );
        server
            .kv(home, &["lock", "--try", "jobs/n", "--", "true"])
            .await?
            .expect(5)?;
        let in_vain = said(home, &server, &["lock", "-try=300ms", "jobs/n", "echo alone"]).await?;
        assert_eq!(in_vain, (Exit::Code(1), String::new(), IN_VAIN.to_owned()));

        holder.signal(Signal::SIGTERM)?;

        assert_eq!(holder.exit().await?, Exit::Code(0), "{}", holder.log());
        assert_eq!(holder.output(), "in\ntold\n");
        let ours = ["kv", "lock", "jobs/n", "--", "sh", "-c", HOLD];
        let ours = server.keyway(home).start(home, "keyway", &ours)?;
        holds("the lock is held", async || ours.output().contains("in\n")).await?;
        let in_vain = said(home, &server, &["lock", "-timeout=300ms", "jobs/n", "echo alone"]).await?;
        assert_eq!(in_vain, (Exit::Code(1), String::new(), IN_VAIN.to_owned()));
        let waits = consul(home, &server)?.start(home, "waits", &["lock", "jobs/n", "echo its turn"])?;
        ours.signal(Signal::SIGTERM)?;
        holds("the one who waits has its turn", async || {
            waits.output() == "its turn\n"
        })
        .await?;
        // A key that is something else is not taken for a lock.
        server.put("jobs/other/.lock", "x").await?;
        let conflict = said(home, &server, &["lock", "jobs/other", "echo alone"]).await?;
        let why = "Lock acquisition failed: Existing key does not match lock use\n";
        assert_eq!(conflict, (Exit::Code(1), String::new(), why.to_owned()));
        Ok(())
    });
}

#[test]
fn consul_lock_ends_the_command_when_the_lock_is_lost() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut holder = holder(home, &server, "holder", &["-verbose"]).await?;
        let entry = server.client().get("jobs/n/.lock", Default::default()).await?.value;
        let session = entry.and_then(|entry| entry.session).unwrap_or_default();

        server
            .request("PUT", &format!("/v1/session/destroy/{session}"), &[])
            .await?;

        assert_eq!(holder.exit().await?, Exit::Code(0), "{}", holder.log());
        let output = holder.output();
        assert!(output.contains("Lock lost, killing child\ntold\n"), "{output}");
        Ok(())
    });
}

#[test]
fn consul_lock_lets_in_as_many_as_it_is_told() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut one = holder(home, &server, "one", &["-n=2"]).await?;
        let _two = holder(home, &server, "two", &["-n=2"]).await?;
        let in_vain = said(
            home,
            &server,
            &["lock", "-n=2", "-timeout=300ms", "jobs/n", "echo third"],
        )
        .await?;
        assert_eq!(in_vain, (Exit::Code(1), String::new(), IN_VAIN.to_owned()));
        let other = said(home, &server, &["lock", "-n=3", "jobs/n", "true"]).await?;
        let why = "Lock acquisition failed: semaphore limit conflict (lock: 2, local: 3)\n";
        assert_eq!(other, (Exit::Code(1), String::new(), why.to_owned()));

        // Whoever is killed is out as soon as its session is. What ran under it runs on, here as with Consul.
        let left = one.children();
        one.kill().await?;
        left.iter().for_each(crate::harness::Process::kill);
        let three = consul(home, &server)?.start(home, "three", &["lock", "-n=2", "jobs/n", "echo third"])?;
        let ended = async || {
            let sessions = server.request("GET", "/v1/session/list", &[]).await.ok()?;
            let sessions: Vec<Value> = serde_json::from_slice(&sessions.body).ok()?;
            (sessions.len() == 3).then_some(sessions)
        };
        let sessions = eventually("the session of the third", ended).await?;
        let lock = server.client().get("jobs/n/.lock", Default::default()).await?.value;
        let lock: Value = serde_json::from_slice(&lock.unwrap_or_else(|| unreachable!()).value)?;
        let holders = lock["Holders"]
            .as_object()
            .into_iter()
            .flat_map(|holders| holders.keys());
        let ids = |session: &Value| session["ID"].as_str().unwrap_or_default().to_owned();
        let oldest = sessions
            .iter()
            .min_by_key(|session| session["CreateIndex"].as_u64())
            .map(ids);
        assert_eq!(holders.clone().count(), 2, "{lock}");
        let oldest = oldest.unwrap_or_default();
        server
            .request("PUT", &format!("/v1/session/destroy/{oldest}"), &[])
            .await?;
        holds("the third is in", async || three.output() == "third\n").await
    });
}

#[test]
fn consul_watch_prints_what_is_there_and_runs_a_command_when_it_changes() {
    test(async |home| {
        let server = Server::start(home).await?;
        let watch = |more: &[&'static str]| [&["watch"], more].concat();
        let null = said(home, &server, &watch(&["-type=key", "-key=k"])).await?;
        assert_eq!(null, (Exit::Code(0), "null\n".to_owned(), String::new()));
        server.put("k", "<v>").await?;
        let at = server.revision("k").await?;
        let entry = format!(
            "{{\n    \"Key\": \"k\",\n    \"CreateIndex\": {at},\n    \"ModifyIndex\": {at},\n    \"LockIndex\": 0,\n    \
             \"Flags\": 0,\n    \"Value\": \"PHY+\",\n    \"Session\": \"\"\n}}\n"
        );
        assert_eq!(said(home, &server, &watch(&["-type=key", "-key=k"])).await?.1, entry);
        let list = said(home, &server, &watch(&["-stale", "-type=keyprefix", "-prefix=k"]))
            .await?
            .1;
        assert_eq!(
            serde_json::from_str::<Value>(&list)?,
            json!([serde_json::from_str::<Value>(&entry)?])
        );
        for (more, text) in [
            (vec!["-type=key"], "Must specify a single key to watch\n"),
            (vec!["-type=keyprefix"], "Must specify a single prefix to watch\n"),
            (vec!["-type=x"], "Unsupported watch type: x\n"),
        ] {
            let expected = (Exit::Code(1), String::new(), text.to_owned());
            assert_eq!(said(home, &server, &watch(&more)).await?, expected);
        }

        let handler = "read -r line; echo \"$CONSUL_INDEX $line\"; case $line in *c3RvcA*) exit 7;; esac";
        let mut runs = consul(home, &server)?.start(home, "runs", &watch(&["-type=key", "-key=k", handler]))?;
        let first = format!("{at} {{\"Key\":\"k\",\"CreateIndex\":{at},\"ModifyIndex\":{at},");
        holds("it runs at once", async || runs.output().starts_with(&first)).await?;
        server.put("other", "1").await?;
        server.put("k", "2").await?;
        holds("it runs again", async || runs.output().lines().count() == 2).await?;
        server.put("k", "stop").await?;
        assert_eq!(runs.exit().await?, Exit::Code(1));
        assert_eq!(runs.log(), "Error executing handler: exit status 7\n");
        assert_eq!(runs.output().lines().count(), 3, "{}", runs.output());

        let mut idle = consul(home, &server)?.start(home, "idle", &watch(&["-type=key", "-key=k", "cat"]))?;
        holds("it runs at once", async || !idle.output().is_empty()).await?;
        idle.signal(Signal::SIGINT)?;
        assert_eq!(idle.exit().await?, Exit::Code(0), "{}", idle.log());
        Ok(())
    });
}

#[test]
fn consul_lists_the_servers_as_members_and_as_peers_and_shows_what_they_tell() {
    test(async |home| {
        let server = Server::start(home).await?;
        let about = server.request("GET", "/v1/agent/self", &[]).await?;
        let about: Value = serde_json::from_slice(&about.body)?;
        let (id, build) = (&about["Config"]["NodeID"], &about["Config"]["Version"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();

        let members = said(home, &server, &["members"]).await?.1;
        let (address, build) = (&server.raft, text(build));
        let width = address.len();
        let expected = format!(
            "Node      {:width$}  Status  Type    Build  Protocol  DC   Partition  Segment\n\
             keyway-1  {address}  alive   server  {build}  2         dc1  default    <all>\n",
            "Address"
        );
        assert_eq!(members, expected);
        let detailed = said(home, &server, &["members", "-detailed", "-status=alive"]).await?.1;
        assert!(detailed.contains(&format!(",id={},", text(id))), "{detailed}");
        let none = said(home, &server, &["members", "-status=left"]).await?;
        assert_eq!(none, (Exit::Code(2), String::new(), String::new()));

        let info = said(home, &server, &["info"]).await?.1;
        assert!(
            info.contains("\nraft:\n\tlast_log_index = ") && info.contains("\n\tstate = Leader\n"),
            "{info}"
        );

        let (code, peers, _) = said(home, &server, &["operator", "raft", "list-peers"]).await?;
        let begin = format!("keyway-1  {}  {address}  leader  true   3             ", text(id));
        let row = peers.lines().nth(1).unwrap_or_default();
        assert!(
            code == Exit::Code(0) && row.starts_with(&begin) && row.ends_with("  -"),
            "{peers}"
        );
        let nowhere = said(home, &server, &["operator", "raft", "list-peers", "-datacenter=x"]).await?;
        let why = "Error getting peers: Failed to retrieve raft configuration: \
                   Unexpected response code: 500 (No path to datacenter)\n";
        assert_eq!(nowhere, (Exit::Code(1), String::new(), why.to_owned()));
        Ok(())
    });
}
