//! `keyway kv lock`, and the flags of `kv put` that lock: one holder at a time, over everything that a
//! server and other clients may do.

use kvapi::client::WriteOptions;
use kvapi::lock::{Lock, SessionTerms};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;

use crate::harness::{Exit, Home, Program, Server, holds, test};

/// The sessions that there are.
async fn sessions(server: &Server) -> anyhow::Result<Vec<Value>> {
    let listed = server.request("GET", "/v1/session/list", &[]).await?;
    Ok(serde_json::from_slice(&listed.body)?)
}

async fn session(server: &Server, lock_delay: Duration) -> anyhow::Result<String> {
    let terms = SessionTerms {
        name: "test".into(),
        ttl: Duration::from_secs(60),
        lock_delay,
    };
    Ok(server.client().create_session(&terms, &WriteOptions::default()).await?)
}

/// A command that holds a lock until it is told to end, and says so.
async fn holder(server: &Server, home: &Home, name: &str, flags: &[&str]) -> anyhow::Result<Program> {
    let script = "trap 'echo told; exit 9' TERM; echo held $KEYWAY_LOCK_REVISION; while :; do sleep 0.05; done";
    let arguments = [&["kv", "lock"], flags, &["jobs/n", "--", "sh", "-c", script]].concat();
    let holder = server.keyway(home).start(home, name, &arguments)?;
    holds("the lock is held", async || holder.output().contains("held ")).await?;
    Ok(holder)
}

#[test]
fn a_command_runs_while_the_lock_is_held_and_its_code_is_the_end() {
    test(async |home| {
        let server = Server::start(home).await?;
        let script = "echo $KEYWAY_LOCK_REVISION $KEYWAY_LOCK_KEY $KEYWAY_LOCK_SESSION; \
                      keyway=$0; $keyway kv get -o json jobs/n/.lock; exit 7";
        let program = crate::harness::binary("keyway")?;
        let program = program.to_string_lossy();
        let said = server
            .kv(
                home,
                &["lock", "jobs/n/", "-m", "nightly", "--", "sh", "-c", script, &program],
            )
            .await?
            .expect(7)?;

        let text = said.text();
        let (told, entry) = text.split_once('\n').unwrap_or_default();
        let entry: Value = serde_json::from_str(entry)?;
        let told: Vec<&str> = told.split(' ').collect();
        assert_eq!(told[1], "jobs/n/.lock");
        assert_eq!(
            (told[2], told[0]),
            (
                entry["session"].as_str().unwrap_or_default(),
                &*entry["mod_revision"].to_string()
            )
        );
        assert!(said.err.contains("locked jobs/n/.lock at revision"), "{}", said.err);
        // Nothing is left, and whoever is next need not wait for a lock-delay.
        assert!(
            server
                .client()
                .get("jobs/n/.lock", Default::default())
                .await?
                .value
                .is_none()
        );
        assert_eq!(sessions(&server).await?, [] as [Value; 0]);
        server
            .kv(home, &["lock", "--try", "jobs/n", "--", "true"])
            .await?
            .expect(0)?;
        server
            .kv(home, &["lock", "jobs/n", "--", "no-such-program"])
            .await?
            .expect(127)?;
        server
            .kv(home, &["lock", "jobs/n", "--", "sh", "-c", "kill -9 $$"])
            .await?
            .expect(137)?;
        assert_eq!(sessions(&server).await?, [] as [Value; 0]);
        Ok(())
    });
}

#[test]
fn of_many_who_want_a_lock_one_runs_at_a_time_and_their_revisions_rise() {
    test(async |home| {
        let server = Server::start(home).await?;
        // Whoever finds the folder there is not alone.
        let script =
            "mkdir held || echo clash >> clashes; echo $KEYWAY_LOCK_REVISION >> revisions; sleep 0.02; rmdir held";
        let mut all = Vec::new();
        for number in 0..8 {
            let arguments = ["kv", "lock", "jobs/n", "--", "sh", "-c", script];
            all.push(server.keyway(home).start(home, &format!("one-{number}"), &arguments)?);
        }

        for one in &mut all {
            assert_eq!(one.exit().await?, Exit::Code(0), "{}", one.log());
        }

        assert!(home.read("clashes").is_err());
        let revisions = home.read("revisions")?;
        let revisions: Vec<u64> = revisions.lines().map(str::parse).collect::<Result<_, _>>()?;
        assert_eq!(revisions.len(), 8);
        assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
        Ok(())
    });
}

#[test]
fn a_lock_that_is_taken_away_stops_the_command() {
    test(async |home| {
        let server = Server::start(home).await?;
        for how in ["session", "key"] {
            let mut holder = holder(&server, home, how, &["--lock-delay", "0s"]).await?;
            if how == "session" {
                let id = sessions(&server).await?[0]["ID"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                server.client().destroy_session(&id, &WriteOptions::default()).await?;
            } else {
                server.client().delete("jobs/n/.lock", &WriteOptions::default()).await?;
            }

            assert_eq!(holder.exit().await?, Exit::Code(8), "{how}: {}", holder.log());

            assert!(holder.output().contains("told"), "{how}");
            assert!(holder.log().contains("error[E0209]"), "{how}: {}", holder.log());
            assert_eq!(sessions(&server).await?, [] as [Value; 0]);
        }
        Ok(())
    });
}

#[test]
fn who_does_not_get_the_lock_says_so_and_one_who_is_stopped_gives_it_up() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut holder = holder(&server, home, "holder", &[]).await?;
        let said = server
            .kv(home, &["lock", "--try", "jobs/n", "--", "true"])
            .await?
            .expect(5)?;
        assert!(
            said.err.contains("error[E0208]") && said.err.contains("is held by session"),
            "{}",
            said.err
        );
        server
            .kv(home, &["lock", "--wait", "100ms", "jobs/n", "--", "true"])
            .await?
            .expect(124)?;
        let next = ["kv", "lock", "jobs/n", "--", "sh", "-c", "echo held"];
        let mut next = server.keyway(home).start(home, "next", &next)?;

        holder.signal(Signal::SIGTERM)?;

        assert_eq!(holder.exit().await?, Exit::Code(9), "{}", holder.log());
        assert_eq!(next.exit().await?, Exit::Code(0), "{}", next.log());
        assert_eq!(sessions(&server).await?, [] as [Value; 0]);
        // A key that is something else is left alone.
        server.put("app/.lock", "a value").await?;
        server.kv(home, &["lock", "app", "--", "true"]).await?.expect(3)?;
        assert_eq!(server.kv(home, &["get", "app/.lock"]).await?.text(), "a value");
        Ok(())
    });
}

#[test]
fn a_lock_outlives_the_server() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        let mut holder = holder(&server, home, "holder", &[]).await?;
        for _ in 0..2 {
            server.program.kill().await?;
            server.restart(home).await?;
            server
                .kv(home, &["lock", "--try", "jobs/n", "--", "true"])
                .await?
                .expect(5)?;
        }
        assert_eq!(sessions(&server).await?.len(), 1);

        holder.signal(Signal::SIGTERM)?;

        assert_eq!(holder.exit().await?, Exit::Code(9), "{}", holder.log());
        server
            .kv(home, &["lock", "--try", "jobs/n", "--", "true"])
            .await?
            .expect(0)?;
        Ok(())
    });
}

#[test]
fn put_locks_and_unlocks_a_key_for_a_session() {
    test(async |home| {
        let server = Server::start(home).await?;
        let (ours, theirs) = (
            session(&server, Duration::ZERO).await?,
            session(&server, Duration::ZERO).await?,
        );
        let put = async |flags: &[&str]| server.kv(home, &[&["put", "k", "1"], flags].concat()).await;

        put(&["-acquire", "-session", &ours]).await?.expect(0)?;
        put(&["--acquire", "--session", &theirs]).await?.expect(5)?;
        put(&["--release", "--session", &theirs]).await?.expect(5)?;
        let said = put(&["--acquire", "--session", "nobody"]).await?.expect(3)?;
        assert!(said.err.contains("invalid session"), "{}", said.err);
        let now = server.client().get("k", Default::default()).await?.value;
        assert_eq!(now.and_then(|entry| entry.session), Some(ours.clone()));
        put(&["-release", &format!("-session={ours}")]).await?.expect(0)?;
        put(&["--acquire"]).await?.expect(2)?;
        put(&["--session", &ours]).await?.expect(2)?;

        let (client, options) = (server.client(), WriteOptions::default());
        let stored = client.store_locked("k", "2", Lock::Acquire(&theirs), &options).await?;
        assert!(stored.done);
        Ok(())
    });
}
