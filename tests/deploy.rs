//! `keyway deploy`, against a real scheduler that starts real processes.

use std::collections::BTreeSet;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::dev::Dev;
use crate::harness::{Exit, Home, Said, holds, test};
use crate::json_page::Page;

pub(crate) async fn start(home: &Home) -> anyhow::Result<Dev> {
    Dev::start(home, "dev", &[]).await
}

/// `keyway deploy ARGUMENTS`, to its end.
pub(crate) async fn deploy(dev: &Dev, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
    dev.keyway(home).run(&[&["deploy"], arguments].concat()).await
}

/// The state that `ls` shows of the one app.
pub(crate) async fn state(dev: &Dev, home: &Home) -> String {
    let said = deploy(dev, home, &["ls", "-o", "jsonl"]).await;
    let row = said.ok().and_then(|said| said.json().ok());
    row.and_then(|row| row["state"].as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// An HTTP server of so many instances that say `greeting`.
pub(crate) fn web(home: &Home, name: &str, greeting: &str, more: &Value) -> anyhow::Result<()> {
    home.write(
        &format!("{greeting}.conf"),
        format!("greeting = {greeting}\nlimit = 5\n"),
    )?;
    let program = env!("CARGO_BIN_EXE_keyway");
    let config = home.path(&format!("{greeting}.conf"));
    let mut app = json!({
        "id": "/web", "instances": 2, "cpus": 0.1, "mem": 32,
        "cmd": format!("exec {program} demo-app --config {} --listen 127.0.0.1:$PORT0", config.display()),
        "healthChecks": [{"protocol": "HTTP", "path": "/", "intervalSeconds": 1, "gracePeriodSeconds": 10}],
    });
    for (name, value) in more.as_object().context("an object")? {
        app[name] = value.clone();
    }
    home.write(name, app.to_string())?;
    Ok(())
}

/// A version that never becomes healthy, given up after two seconds.
pub(crate) fn broken(home: &Home) -> anyhow::Result<()> {
    let more = json!({
        "cmd": "echo 'there is no such flag: --frobnicate'; exit 3",
        "labels": {"KEYWAY_PROGRESS_DEADLINE": "2s"},
    });
    web(home, "broken.json", "good", &more)
}

#[test]
fn an_app_is_deployed_and_a_second_time_there_is_nothing_to_do() {
    test(async |home| {
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({}))?;
        deploy(&dev, home, &["plan", "-f", "web.json"]).await?.expect(1)?;

        let said = deploy(&dev, home, &["apply", "-f", "web.json"]).await?.expect(0)?;

        let words: Vec<&str> = said.err.lines().collect();
        assert!(
            words[0].contains("Z deployment ") && words[0].contains(" begins, version "),
            "{words:?}"
        );
        assert!(
            words.iter().any(|line| line.ends_with("/web: 2 new, 2 of 2 healthy")),
            "{words:?}"
        );
        assert!(words.last().is_some_and(|line| line.contains(" done")), "{words:?}");
        assert!(said.text().starts_with("/web is at version "), "{said:?}");
        let listed = deploy(&dev, home, &["ls"]).await?.expect(0)?.text();
        assert!(listed.contains("/web  running  2/2"), "{listed}");
        let plan = deploy(&dev, home, &["plan", "-f", "web.json"]).await?.expect(0)?;
        assert_eq!(plan.text(), "/web: nothing changes\n");
        let again = deploy(&dev, home, &["apply", "-f", "web.json"]).await?.expect(0)?;
        assert!(
            again.err.contains("nothing to do: /web is as the files say"),
            "{again:?}"
        );
        let history = deploy(&dev, home, &["history", "/web", "-o", "name"])
            .await?
            .expect(0)?;
        assert_eq!(history.text().lines().count(), 1, "{history:?}");
        Ok(())
    });
}

#[test]
fn a_plan_says_what_is_restarted_and_is_true() {
    test(async |home| {
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({"instances": 1}))?;
        deploy(&dev, home, &["apply", "-f", "web.json"]).await?.expect(0)?;
        let tasks = async || -> anyhow::Result<Vec<Value>> {
            let said = deploy(&dev, home, &["status", "/web", "-o", "json"])
                .await?
                .expect(0)?
                .json()?;
            let instances = said["instances"].as_array().context("a list")?;
            Ok(instances.iter().map(|one| one["task"].clone()).collect())
        };
        let first = tasks().await?;

        web(
            home,
            "label.json",
            "good",
            &json!({"instances": 1, "labels": {"HAPROXY_0_VHOST": "a"}}),
        )?;
        let plan = deploy(&dev, home, &["plan", "-f", "label.json"])
            .await?
            .expect(1)?
            .text();
        assert_eq!(
            plan,
            "/web: changes, and no instance that runs is restarted\n  + /labels/HAPROXY_0_VHOST: \"a\"\n"
        );
        deploy(&dev, home, &["apply", "-f", "label.json"]).await?.expect(0)?;
        assert_eq!(tasks().await?, first);

        let set = ["-f", "label.json", "--set", "MODE=fast"];
        let plan = deploy(&dev, home, &[&["plan"], &set[..]].concat())
            .await?
            .expect(1)?
            .text();
        assert!(
            plan.starts_with("/web: changes, and every instance is replaced\n  + /env/MODE"),
            "{plan}"
        );
        let dry = deploy(&dev, home, &[&["apply", "--dry-run"], &set[..]].concat())
            .await?
            .expect(0)?;
        assert_eq!(dry.text(), plan);
        deploy(&dev, home, &[&["apply"], &set[..]].concat()).await?.expect(0)?;
        assert!(tasks().await?.iter().all(|task| !first.contains(task)));
        Ok(())
    });
}

/// An app that needs another one, in one file with it.
#[test]
fn several_apps_of_a_file_are_one_deployment_and_go_back_together() {
    test(async |home| {
        let dev = start(home).await?;
        let both = |file: &str, api: &str| -> anyhow::Result<()> {
            web(
                home,
                "one.json",
                "good",
                &json!({"id": "/shop/api", "dependencies": ["/shop/db"]}),
            )?;
            let mut db: Value = serde_json::from_str(&home.read("one.json")?)?;
            let mut of_api = db.clone();
            of_api["labels"] = json!({"KEYWAY_PROGRESS_DEADLINE": "2s"});
            of_api["env"] = json!({"API": api});
            if api == "broken" {
                of_api["cmd"] = json!("echo 'there is no such flag: --frobnicate'; exit 3");
            }
            db["id"] = json!("/shop/db");
            db["env"] = json!({"DB": api});
            db["dependencies"] = json!([]);
            home.write(file, json!([of_api, db]).to_string())?;
            Ok(())
        };
        let versions = async || -> anyhow::Result<BTreeSet<(String, String)>> {
            let apps = dev.api.get("/v2/apps").await?["apps"].clone();
            let apps = apps.as_array().context("a list")?;
            let of = |app: &Value| Some((app["id"].as_str()?.to_owned(), app["env"].to_string()));
            Ok(apps.iter().filter_map(of).collect())
        };
        both("shop.json", "good")?;
        let plan = deploy(&dev, home, &["plan", "-f", "shop.json"])
            .await?
            .expect(1)?
            .text();
        assert!(plan.contains("/shop/api") && plan.contains("/shop/db"), "{plan}");

        let said = deploy(&dev, home, &["apply", "-f", "shop.json"]).await?.expect(0)?;

        let at = |words: &str| said.err.find(words).with_context(|| format!("{words} in {}", said.err));
        assert!(at(": scale /shop/db\n")? < at(": scale /shop/api\n")?, "{}", said.err);
        assert_eq!(said.err.matches(" begins, version ").count(), 1, "{}", said.err);
        assert!(
            said.text().starts_with("/shop/api, /shop/db are at version "),
            "{said:?}"
        );
        let again = deploy(&dev, home, &["apply", "-f", "shop.json"]).await?.expect(0)?;
        assert!(
            again.err.contains("/shop/api, /shop/db are as the files say"),
            "{again:?}"
        );
        let good = versions().await?;
        assert_eq!(good.len(), 2);

        both("broken.json", "broken")?;
        let said = deploy(&dev, home, &["apply", "-f", "broken.json"]).await?.expect(7)?;

        assert!(
            said.err.contains("  | there is no such flag: --frobnicate"),
            "{}",
            said.err
        );
        assert!(said.err.contains("what was before is back"), "{}", said.err);
        assert_eq!(versions().await?, good);
        let listed = deploy(&dev, home, &["ls"]).await?.expect(0)?.text();
        assert_eq!(listed.matches("2/2").count(), 2, "{listed}");

        // A mistake in one of them changes none, and says in which.
        let mut wrong: Value = serde_json::from_str(&home.read("shop.json")?)?;
        wrong[0]["env"] = json!({"API": "other"});
        wrong[1]["cpus"] = json!("many");
        home.write("wrong.json", wrong.to_string())?;
        let said = deploy(&dev, home, &["apply", "-f", "wrong.json"]).await?.expect(3)?;
        assert!(
            said.err.contains("wrong.json") && said.err.contains("/1/cpus"),
            "{}",
            said.err
        );
        assert_eq!(versions().await?, good);
        Ok(())
    });
}

/// Whoever planned on what is no longer there is told so, and the history says why something was done.
#[test]
fn a_change_may_depend_on_the_version_and_says_why() {
    test(async |home| {
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({"instances": 1}))?;
        let new = ["apply", "-f", "web.json", "--if-version", "none"];
        deploy(&dev, home, &[&new[..], &["-m", "the first, größer"]].concat())
            .await?
            .expect(0)?;
        let version = async || -> anyhow::Result<String> {
            let app = dev.api.get("/v2/apps/web").await?;
            Ok(app["app"]["version"].as_str().context("a version")?.to_owned())
        };
        let first = version().await?;

        web(
            home,
            "label.json",
            "good",
            &json!({"instances": 1, "labels": {"A": "1"}}),
        )?;
        let label = async |at: &str| deploy(&dev, home, &["apply", "-f", "label.json", "--if-version", at]).await;
        let said = label("none").await?.expect(5)?;
        assert!(
            said.err.contains(&format!("is at version {first}, not none")),
            "{}",
            said.err
        );
        label(&first).await?.expect(0)?;
        let second = version().await?;
        assert_ne!(second, first);

        web(
            home,
            "label.json",
            "good",
            &json!({"instances": 1, "labels": {"A": "2"}}),
        )?;
        label(&first).await?.expect(5)?;
        deploy(&dev, home, &new).await?.expect(5)?;
        assert_eq!(version().await?, second);
        let wait = ["apply", "-f", "label.json", "--on-failure", "wait"];
        deploy(&dev, home, &wait).await?.expect(0)?;
        let app = dev.api.get("/v2/apps/web").await?;
        assert_eq!(app["app"]["labels"]["KEYWAY_ON_FAILURE"], "wait");
        let history = deploy(&dev, home, &["history", "/web"]).await?.expect(0)?.text();
        assert!(history.contains("the first, größer"), "{history}");
        Ok(())
    });
}

#[test]
fn ctrl_c_leaves_the_deployment_alone_and_says_how_to_come_back() {
    test(async |home| {
        let dev = start(home).await?;
        // It waits for a file, so that the deployment goes on for as long as it is wanted.
        let flag = home.path("go");
        web(home, "web.json", "good", &json!({}))?;
        let app: Value = serde_json::from_str(&home.read("web.json")?)?;
        let line = app["cmd"].as_str().context("a text")?;
        let line = format!("while [ ! -e {} ]; do sleep 0.02; done; {line}", flag.display());
        web(home, "late.json", "good", &json!({"cmd": line}))?;
        let mut terminal = dev
            .keyway(home)
            .on_a_terminal(&["deploy", "apply", "-f", "late.json"])?;
        terminal.until("0 of 2 healthy")?;

        terminal.signal(Signal::SIGINT)?;
        let (exit, shown) = terminal.exit()?;

        assert_eq!(exit, Exit::Code(130), "{shown}");
        let id = shown.rsplit_once("keyway deploy status -w ").context(shown.clone())?.1;
        let id = id.split_whitespace().next().unwrap_or_default();
        assert!(shown.contains("--scheduler-addr"), "{shown}");
        let mut following = dev
            .keyway(home)
            .start(home, "follow", &["deploy", "status", "-w", id])?;
        home.write("go", "")?;
        assert_eq!(following.exit().await?, Exit::Code(0), "{}", following.log());
        assert_eq!(state(&dev, home).await, "running");
        Ok(())
    });
}

#[test]
fn apps_are_scaled_restarted_rolled_back_read_and_stopped() {
    test(async |home| {
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({"instances": 1}))?;
        let id = deploy(&dev, home, &["apply", "-f", "web.json", "--detach"])
            .await?
            .expect(0)?
            .text();
        deploy(&dev, home, &["status", "-w", id.trim()]).await?.expect(0)?;
        let first = deploy(&dev, home, &["history", "/web", "-o", "name"])
            .await?
            .expect(0)?
            .text();

        deploy(&dev, home, &["scale", "/web=3"]).await?.expect(0)?;
        deploy(&dev, home, &["wait", "/web", "--for", "count=3"])
            .await?
            .expect(0)?;
        // A file that does not say how many leaves them.
        let mut app: Value = serde_json::from_str(&home.read("web.json")?)?;
        app.as_object_mut().context("an object")?.remove("instances");
        app["env"] = json!({"A": "1"});
        home.write("env.json", app.to_string())?;
        deploy(&dev, home, &["apply", "-f", "env.json"]).await?.expect(0)?;
        let listed = deploy(&dev, home, &["ls"]).await?.expect(0)?.text();
        assert!(listed.contains("3/3"), "{listed}");
        let said = deploy(&dev, home, &["rollback", "/web"]).await?.expect(0)?;
        assert!(said.err.contains("goes back to version"), "{said:?}");
        let plan = deploy(&dev, home, &["plan", "-f", "env.json"]).await?.expect(1)?.text();
        assert!(plan.contains("+ /env/A"), "{plan}");
        deploy(&dev, home, &["rollback", "/web", "--to", first.trim()])
            .await?
            .expect(0)?;
        deploy(&dev, home, &["restart", "/web"]).await?.expect(0)?;
        holds("all have said where they serve", async || {
            let said = deploy(&dev, home, &["logs", "/web", "--prefix"]).await;
            said.is_ok_and(|said| {
                let text = said.text();
                text.lines()
                    .any(|line| line.starts_with("web.instance-") && line.contains(" | demo-app "))
            })
        })
        .await?;
        let mut logs = dev
            .keyway(home)
            .start(home, "logs", &["deploy", "logs", "/web", "-f"])?;
        logs.line("a line", 0, |line| line.contains("demo-app").then_some(()))
            .await?;
        logs.signal(Signal::SIGTERM)?;
        assert_eq!(logs.exit().await?, Exit::Code(0));

        deploy(&dev, home, &["stop", "/web"]).await?.expect(0)?;
        deploy(&dev, home, &["wait", "/web", "--for", "stopped"])
            .await?
            .expect(0)?;
        assert_eq!(state(&dev, home).await, "stopped");
        deploy(&dev, home, &["stop", "/web", "--purge", "-y"])
            .await?
            .expect(0)?;
        deploy(&dev, home, &["ls"]).await?.expect(1)?;
        Ok(())
    });
}

#[test]
fn what_deploy_prints_as_json_is_what_the_page_says() {
    test(async |home| {
        let mut page = Page::read()?;
        let dev = start(home).await?;
        web(home, "web.json", "good", &json!({}))?;
        broken(home)?;
        let json = async |arguments: &[&str], code: i32| -> anyhow::Result<Vec<Value>> {
            let said = deploy(&dev, home, &[arguments, &["-o", "jsonl"]].concat())
                .await?
                .expect(code)?;
            Ok(said
                .text()
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()?)
        };
        let whole = async |arguments: &[&str]| -> anyhow::Result<Value> {
            deploy(&dev, home, &[arguments, &["-o", "json"]].concat()).await?.json()
        };
        page.is("deploy plan", &whole(&["plan", "-f", "web.json"]).await?)?;
        for (file, code) in [("web.json", 0), ("broken.json", 7)] {
            let lines = json(&["apply", "-f", file, "-m", "a reason"], code).await?;
            let (end, progress) = lines.split_last().context("no line")?;
            progress.iter().try_for_each(|line| page.is("deploy progress", line))?;
            page.is("deploy end", end)?;
        }
        page.is("deploy nothing", &json(&["apply", "-f", "web.json"], 0).await?[0])?;
        page.is("deploy plan", &whole(&["plan", "-f", "broken.json"]).await?)?;
        page.is("deploy list", &whole(&["ls"]).await?)?;
        page.is("deploy app", &whole(&["status", "/web"]).await?)?;
        page.is("deploy running", &whole(&["status"]).await?)?;
        page.is("deploy history", &whole(&["history", "/web"]).await?)?;
        page.is("deploy awaited", &whole(&["wait", "/web", "--for", "healthy"]).await?)?;
        holds("a line of a log", async || {
            let lines = json(&["logs", "/web"], 0).await.unwrap_or_default();
            lines
                .first()
                .is_some_and(|line| page.is("deploy log line", line).is_ok())
        })
        .await?;

        // The other direction: what is on the page is real.
        let elsewhere: BTreeSet<&str> = [
            "deploy instance settings_revision",
            "deploy instance waiting",
            "deploy instance health_failure",
        ]
        .into();
        let never = page.unseen(|name| name.starts_with("deploy "));
        let never: Vec<&String> = never
            .iter()
            .filter(|member| !elsewhere.contains(member.as_str()))
            .collect();
        assert_eq!(never, Vec::<&String>::new(), "on the page, and in no document");
        Ok(())
    });
}
