//! `keyway deploy` when it fails: what is put back, what is left, exit codes and words.

use anyhow::Context as _;
use serde_json::json;

use crate::deploy::{broken, deploy, start, state, web};
use crate::harness::dev::Dev;
use crate::harness::{Home, Server, holds, test};
use crate::marathon_apps::{get, names};
use crate::marathon_health::answering;
use crate::schedulers::{CAP, FLOOR, INSTANCES, Looks, app, are_the_same, clear, put_greeting};

#[test]
fn a_version_that_fails_is_rolled_back_and_its_last_lines_are_told() {
    test(async |home| {
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({}))?;
        broken(home)?;
        deploy(&dev, home, &["apply", "-f", "web.json"]).await?.expect(0)?;

        let said = deploy(&dev, home, &["apply", "-f", "broken.json"]).await?.expect(7)?;

        assert!(
            said.err.contains("  | there is no such flag: --frobnicate"),
            "{}",
            said.err
        );
        assert!(said.err.contains("what was before is back"), "{}", said.err);
        assert!(said.err.contains("/web: web.instance-"), "{}", said.err);
        holds("the good ones are well", async || state(&dev, home).await == "running").await?;
        let listed = deploy(&dev, home, &["ls"]).await?.expect(0)?.text();
        assert!(listed.contains("demo-app") && listed.contains("2/2"), "{listed}");
        let history = deploy(&dev, home, &["history", "/web"]).await?.expect(0)?.text();
        assert!(history.contains("failed: ") && history.contains("undoes "), "{history}");
        // What failed is not gone back to, and what is there already neither.
        let said = deploy(&dev, home, &["rollback", "/web"]).await?.expect(1)?;
        assert!(
            said.err.contains("no former version of /web that is something else"),
            "{said:?}"
        );
        Ok(())
    });
}

#[test]
fn a_first_version_that_fails_is_left_and_the_next_one_takes_its_place() {
    test(async |home| {
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({}))?;
        broken(home)?;

        let said = deploy(&dev, home, &["apply", "-f", "broken.json"]).await?.expect(8)?;

        assert!(
            said.err.contains("  | there is no such flag: --frobnicate"),
            "{}",
            said.err
        );
        assert!(said.err.contains("everything is left as it is"), "{}", said.err);
        let left = get(&dev.api, "/web").await?;
        assert!(left["cmd"].to_string().contains("--frobnicate"), "{left}");
        let history = deploy(&dev, home, &["history", "/web"]).await?.expect(0)?.text();
        assert!(
            history.contains("failed: ") && !history.contains("undoes "),
            "{history}"
        );

        deploy(&dev, home, &["apply", "-f", "web.json"]).await?.expect(0)?;
        assert_eq!(state(&dev, home).await, "running");
        Ok(())
    });
}

/// Its program runs, and says by itself that it is not well.
#[test]
fn a_version_whose_health_check_fails_is_stopped_at_the_first_wave_and_rolled_back() {
    test(async |home| never_well(home, 0).await);
}

/// The same, and each instance is ended for that and started again.
#[test]
fn a_version_whose_health_check_ends_it_is_stopped_at_the_first_wave_and_rolled_back() {
    test(async |home| never_well(home, 1).await);
}

/// `most` is how often a check may fail until it ends the instance; 0 is never.
async fn never_well(home: &Home, most: u32) -> anyhow::Result<()> {
    let server = Server::start(home).await?;
    let dev = Dev::alone(home, "scheduler", &server.address.to_string(), "tasks").await?;
    let folder = home.path("tasks").display().to_string();
    holds("it leads", async || dev.api.get("/v2/apps").await.is_ok()).await?;
    put_greeting(&dev, home).await?;
    let good = app(home)?;
    home.write("good.json", good.to_string())?;
    deploy(&dev, home, &["apply", "-f", "good.json"]).await?.expect(0)?;
    let before = names(&dev.api.tasks("/web").await?);

    home.write("bad/health", "503")?;
    let answers = answering(home, "/web", "bad", INSTANCES)["cmd"].clone();
    let answers = answers.as_str().context("a command")?;
    let mut bad = good;
    bad["cmd"] = json!(format!("echo 'the database db:5432 refuses us'; {answers}"));
    bad["labels"]["KEYWAY_PROGRESS_DEADLINE"] = json!("7s");
    bad["healthChecks"] = json!([{
        "protocol": "HTTP", "path": "/health", "gracePeriodSeconds": 2, "intervalSeconds": 1, "timeoutSeconds": 1,
        "maxConsecutiveFailures": most,
    }]);
    home.write("bad.json", bad.to_string())?;
    // Only what is good answers with the greeting.
    let looks = Looks::begin(&folder);
    let said = deploy(&dev, home, &["apply", "-f", "bad.json"]).await?.expect(7)?;
    looks.hold(FLOOR, CAP).await?;

    assert!(said.err.contains("it answered 503"), "{}", said.err);
    assert!(said.err.contains("  | the database db:5432 refuses us"), "{}", said.err);
    assert!(said.err.contains("what was before is back"), "{}", said.err);
    are_the_same(&dev.api, &folder, INSTANCES).await?;
    let after = names(&dev.api.tasks("/web").await?);
    let kept = before.intersection(&after).count();
    assert!(kept >= FLOOR, "no more than the first wave went: {before:?}, {after:?}");
    clear(&dev.api, &folder).await
}

#[test]
fn each_way_to_fail_has_its_exit_code_and_its_words() {
    test(async |home| {
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({}))?;
        web(home, "wrong.json", "good", &json!({"cpus": "many", "mem": "much"}))?;
        web(home, "stuck.json", "good", &json!({"cmd": "sleep 1000"}))?;
        let refused = async |arguments: &[&str], code: i32, words: &str| -> anyhow::Result<()> {
            let said = deploy(&dev, home, arguments).await?.expect(code)?;
            anyhow::ensure!(said.err.contains(words), "{arguments:?}: {}", said.err);
            Ok(())
        };
        refused(&["apply", "-f", "nowhere.json"], 3, "nowhere.json").await?;
        refused(&["apply", "-f", "wrong.json"], 3, "/cpus").await?;
        refused(&["plan", "-f", "wrong.json"], 3, "wrong.json: 2 mistakes\n  /cpus").await?;
        refused(&["apply", "-f", "web.json", "--image", "x:1"], 3, "/container/docker").await?;
        refused(&["status", "/nowhere"], 1, "there is no app /nowhere").await?;
        refused(&["scale", "/nowhere=3"], 1, "there is no app /nowhere").await?;
        refused(&["scale", "/nowhere"], 2, "APP=N").await?;
        refused(&["stop", "/nowhere"], 1, "there is no app /nowhere").await?;
        refused(&["logs", "/nowhere"], 1, "there is no app /nowhere").await?;
        refused(&["restart", "/nowhere"], 1, "/nowhere").await?;
        refused(&["status", "Not_An_Id"], 3, "Not_An_Id").await?;
        refused(&["ls", "--scheduler-addr", "127.0.0.1:1"], 6, "--scheduler-addr").await?;

        let late = ["apply", "-f", "stuck.json", "--wait-timeout", "300ms"];
        refused(&late, 124, "it goes on; come back with   keyway deploy status -w ").await?;
        refused(&["apply", "-f", "web.json"], 5, "--force").await?;
        refused(
            &["wait", "/web", "--for", "healthy", "--wait-timeout", "100ms"],
            124,
            "keyway deploy status /web",
        )
        .await?;
        deploy(&dev, home, &["apply", "-f", "web.json", "--force"])
            .await?
            .expect(0)?;
        deploy(&dev, home, &["wait", "/web", "--for", "healthy"])
            .await?
            .expect(0)?;
        refused(&["stop", "/web", "--purge"], 2, "--yes").await?;
        Ok(())
    });
}
