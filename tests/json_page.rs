//! docs/json.md: what each command prints with `-o json` is what the page says, member by member.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use crate::harness::{Home, Keyway, Server, eventually, test};

const PAGE: &str = include_str!("../docs/json.md");

/// A member: its type, and whether it may be missing.
#[derive(Debug)]
struct Member {
    of: &'static str,
    is_optional: bool,
}

/// The objects of the page, by name, and which were seen.
pub(crate) struct Page {
    objects: BTreeMap<&'static str, BTreeMap<&'static str, Member>>,
    seen: BTreeSet<String>,
}

impl Page {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let mut objects: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        let mut object = None;
        for line in PAGE.lines() {
            if let Some(name) = line.strip_prefix("### `") {
                let name = name.strip_suffix('`').context(line)?;
                anyhow::ensure!(
                    objects.insert(name, BTreeMap::new()).is_none(),
                    "{name} stands there twice"
                );
                object = Some(name);
            } else if let Some(row) = line.strip_prefix("| `") {
                let mut cells = row.split(" | ");
                let (name, mark) = cells.next().and_then(|name| name.split_once('`')).context(line)?;
                let member = Member {
                    of: cells.next().context(line)?,
                    is_optional: mark == "?",
                };
                let of = object.and_then(|name| objects.get_mut(name)).context(line)?;
                of.insert(name, member);
            }
        }
        let seen = BTreeSet::new();
        Ok(Self { objects, seen })
    }

    /// Whether a document is an object of that name.
    pub(crate) fn is(&mut self, name: &str, document: &Value) -> anyhow::Result<()> {
        let found = document.as_object().with_context(|| format!("{name}: {document}"))?;
        let members = self
            .objects
            .get(name)
            .with_context(|| format!("the page has no {name}"))?;
        let mut parts = Vec::new();
        for (member, value) in found {
            let on_page = members.get(member.as_str());
            let on_page = on_page.with_context(|| format!("{name} has `{member}`, which is not on the page"))?;
            parts.push((member, on_page.of, value));
        }
        for (member, on_page) in members {
            anyhow::ensure!(
                on_page.is_optional || found.contains_key(*member),
                "{name} has no `{member}`: {document}"
            );
        }
        for (member, of, value) in parts {
            self.seen.insert(format!("{name} {member}"));
            self.fits(of, value).with_context(|| format!("{name} `{member}`"))?;
        }
        Ok(())
    }

    /// Members of these objects that no document had.
    pub(crate) fn unseen(&self, of: impl Fn(&str) -> bool) -> Vec<String> {
        let objects = self.objects.iter().filter(|(name, _)| of(name));
        let all = objects.flat_map(|(name, members)| members.keys().map(move |member| format!("{name} {member}")));
        all.filter(|member| !self.seen.contains(member)).collect()
    }

    /// `text`, `number or null`, `list of TYPE`, or an object's name in backquotes.
    fn fits(&mut self, of: &str, value: &Value) -> anyhow::Result<()> {
        if let Some(of) = of.strip_suffix(" or null") {
            return if value.is_null() { Ok(()) } else { self.fits(of, value) };
        }
        if let Some(of) = of.strip_prefix("list of ") {
            let list = value.as_array().with_context(|| format!("no list: {value}"))?;
            return list.iter().try_for_each(|one| self.fits(of, one));
        }
        if let Some(name) = of.strip_prefix('`') {
            return self.is(name.trim_end_matches('`'), value);
        }
        let fits = match of {
            "anything" => true,
            "text" => value.is_string(),
            "number" => value.is_u64(),
            "any number" => value.is_number(),
            "true or false" => value.is_boolean(),
            other => anyhow::bail!("the page has a type `{other}`"),
        };
        anyhow::ensure!(fits, "{value} is no {of}");
        Ok(())
    }
}

/// Agents in all conditions, and what `keyway agent status -o json` prints of each.
async fn statuses(home: &Home, server: &Server, page: &mut Page) -> anyhow::Result<()> {
    let waits = home.write("waits.hbs", "{{key \"app/not-there\"}}")?;
    let shows = home.write("shows.hbs", "{{key \"app/shown\"}}")?;
    std::fs::create_dir(home.path("moved"))?;
    server.put("app/shown", "good").await?;
    let all = [
        (&waits, "waits", &["--", "sleep", "1000"][..]),
        (
            &shows,
            "shows",
            &["--check", "grep -q good {}", "--restart", "always", "--", "false"],
        ),
        (&shows, "moved/x", &[]),
    ];
    let mut agents = Vec::new();
    for (place, (source, target, flags)) in all.into_iter().enumerate() {
        let files = format!("{}:{}", source.display(), home.path(target).display());
        let folder = home.path(&format!("state-{place}")).display().to_string();
        let found = ["-t", &files, "--state-dir", &folder].map(str::to_owned);
        let run: Vec<&str> = found.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let name = format!("agent-{place}");
        let keyway = server.keyway(home);
        agents.push((
            keyway.start(home, &name, &[&["agent", "run"], run.as_slice()].concat())?,
            found,
        ));
    }
    // What each of them has to show.
    let shown: [fn(&Value) -> bool; 3] = [
        |status| status["templates"][0]["keys"][0].is_object() && status["child"]["state"] == "not_started",
        |status| !status["child"]["last_exit"].is_null() && !status["last_refusal"].is_null(),
        |status| !status["trouble"].is_null(),
    ];
    for (place, ((_, found), shown)) in agents.iter().zip(shown).enumerate() {
        if place == 1 {
            eventually("the first set", async || home.read("shows").ok()).await?;
            server.put("app/shown", "bad").await?;
        }
        if place == 2 {
            // Nothing is on its way to the folder any more.
            eventually("what was put before", async || {
                home.read("moved/x").ok().filter(|text| text == "bad")
            })
            .await?;
            std::fs::remove_dir_all(home.path("moved"))?;
            home.write("moved", "")?;
            server.put("app/shown", "worse").await?;
        }
        let arguments: Vec<&str> = found.iter().map(String::as_str).collect();
        let ask = [&["agent", "status", "-o", "json"], arguments.as_slice()].concat();
        let document = eventually("an agent shows its status", async || {
            let said = Keyway::new(home).run(&ask).await.ok()?;
            said.json().ok().filter(shown)
        })
        .await?;
        page.is("status", &document)?;
    }
    page.is("status", &without_its_store(home, server, &shows).await?)?;
    for (mut agent, _) in agents {
        agent.signal(nix::sys::signal::Signal::SIGTERM)?;
        agent.exit().await?;
    }
    Ok(())
}

/// The status of an agent that has begun from its cache, and whose program has variables from keys.
async fn without_its_store(home: &Home, server: &Server, source: &Path) -> anyhow::Result<Value> {
    server.put("vars/PORT", "80").await?;
    server.put("app/shown", "good").await?;
    let files = format!("{}:{}", source.display(), home.path("cached").display());
    let ask = ["agent", "status", "-t", &files];
    let document = [&ask[..], &["-o", "json"]].concat();
    let run = ["agent", "run", "-t", &files, "--env", "vars", "--cache-dir", "cache"];
    let mut told = Value::Null;
    for (address, cached) in [(server.address.to_string().as_str(), false), ("unix:///nowhere", true)] {
        let line = [&run[..], &["--addr", address, "--", "sleep", "1000"]].concat();
        let mut agent = server.keyway(home).start(home, "agent-cached", &line)?;
        told = eventually("all is in place", async || {
            let told = Keyway::new(home).run(&document).await.ok()?.json().ok()?;
            (told["state"] == "in_place" && told["cache"].is_null() != cached).then_some(told)
        })
        .await?;
        let shown = Keyway::new(home).run(&ask).await?.expect(0)?.text();
        anyhow::ensure!(shown.contains("\nvariables  PORT: in place, revision "), "{shown}");
        agent.signal(nix::sys::signal::Signal::SIGTERM)?;
        agent.exit().await?;
    }
    Ok(told)
}

#[test]
fn the_page_of_json_is_true_of_every_command() {
    test(async |home| {
        let mut page = Page::read()?;
        let mut server = Server::start(home).await?;
        home.write("all.yaml", "app/a: new\napp/d: \"1\"\n")?;
        home.write("conf/a", "of a file\n")?;
        home.write("get.json", r#"[{"KV":{"Verb":"get","Key":"app/a"}}]"#)?;
        let run = async |keyway: Keyway, arguments: &[&str], code: i32| {
            keyway
                .run(&[&["kv", "-o", "json"], arguments].concat())
                .await?
                .expect(code)
        };
        server.put("app/a", "0").await?;
        server.put("app/b/c", "0").await?;
        let first = server.revision("app/b/c").await?.to_string();
        // In this order: what a row writes, the next ones read.
        for (name, code, arguments) in [
            ("put --dry-run", 0, &["put", "app/a", "1", "--dry-run"][..]),
            ("put", 0, &["put", "app/a", "1", "-m", "why", "--flags", "7"]),
            ("put", 0, &["put", "app/b/c", "2"]),
            ("put", 0, &["put", "app/bytes", "/w==", "--base64"]),
            ("put --dry-run", 0, &["put", "app/a", "2", "--dry-run"]),
            ("put --dry-run", 0, &["put", "app/a", "1", "--flags", "7", "--dry-run"]),
            ("entry", 0, &["get", "app/a"]),
            ("entry", 0, &["get", "app/bytes"]),
            ("default", 0, &["get", "no", "--default", "x"]),
            ("entries", 0, &["get", "-r", "app/"]),
            ("keys", 0, &["get", "--keys", "app/"]),
            ("keys", 0, &["ls", "app"]),
            ("rows", 0, &["ls", "-l", "app"]),
            ("tree", 0, &["tree", "app"]),
            ("tree", 0, &["tree", "app", "--values"]),
            (
                "import --dry-run",
                0,
                &["import", "@all.yaml", "--as", "yaml", "--dry-run"],
            ),
            (
                "import",
                0,
                &["import", "@all.yaml", "--as", "yaml", "--on-conflict", "overwrite"],
            ),
            ("edit", 0, &["edit", "-y", "app/d"]),
            ("diff", 0, &["diff", "app/a", "app/d"]),
            ("diff", 0, &["diff", "app/a", "@conf/a"]),
            ("revert", 0, &["revert", "app/a", "--to", &first, "--dry-run"]),
            ("revert", 0, &["revert", "app/", "--to", &first]),
            ("txn", 0, &["txn", "--if", "value(app/a)=0", "--put", "app/t=1"]),
            ("txn", 0, &["txn", "@get.json"]),
            (
                "txn",
                0,
                &["txn", "--dry-run", "--if", "exists(app/a)", "--put", "app/t=1"],
            ),
            (
                "txn that failed",
                5,
                &["txn", "--if", "missing(app/a)", "--put", "x=1", "--else-get", "app/a"],
            ),
            ("delete", 0, &["delete", "app/t", "no"]),
            ("history", 0, &["history", "app/a"]),
            ("history", 0, &["history", "app/", "--diff"]),
            ("change", 0, &["watch", "app/", "--since", &first, "--once"]),
            ("snapshot", 0, &["watch", "app/", "--initial", "--once"]),
        ] {
            let keyway = server.keyway(home).env("EDITOR", "sed -i s/1/3/").env("USER", "me");
            let said = run(keyway, arguments, code).await?;
            let document = said.json().with_context(|| format!("{arguments:?}"))?;
            page.is(name, &document).with_context(|| format!("{arguments:?}"))?;
        }
        for (arguments, code) in [(vec!["get", "no"], 1), (vec!["put", "app/a", "1", "--if-rev", "1"], 5)] {
            let error = run(server.keyway(home), &arguments, code).await?.error()?;
            page.is("error", &error)?;
        }

        home.write("pw", "secret")?;
        let template = "{{key \"app/a\"}}{{key \"no\" default=\"\"}}\n{{#each (ls \"app\")}}{{else}}{{/each}}{{len (keys \"app\")}}\n\
                        {{env \"USER\"}}\n{{secretFile \"pw\"}}\n";
        let template = home.write("t.hbs", template)?.display().to_string();
        let explain = ["agent", "render", "-o", "json", "--explain", "-t", &template];
        let explained = server.keyway(home).env("USER", "me").run(&explain).await?;
        page.is("explain", &explained.expect(0)?.json()?)?;

        server.put("vars/PORT", "80").await?;
        let explain = [
            "agent",
            "render",
            "--env",
            "vars",
            "--explain",
            "-o",
            "json",
            "-t",
            "EXPLAINED",
        ];
        let validate = [
            "agent",
            "validate",
            "-o",
            "json",
            "-t",
            "BARE",
            "--env",
            "vars",
            "--values",
            "vars.yaml",
            "--",
            "true",
        ];
        home.write("bare.hbs", "port {{key \"vars/PORT\"}}\n")?;
        home.write("vars.yaml", "vars/PORT: \"80\"\n")?;
        let bare = format!("bare.hbs:{}", home.path("redis.conf").display());
        for (name, line, text) in [("explain", &explain[..], "bare.hbs"), ("validated", &validate, &bare)] {
            let line: Vec<&str> = line
                .iter()
                .map(|word| {
                    if ["EXPLAINED", "BARE"].contains(word) {
                        text
                    } else {
                        word
                    }
                })
                .collect();
            let said = server.keyway(home).run(&line).await?.expect(0)?.json()?;
            page.is(name, &said)?;
            anyhow::ensure!(!said["variables"].is_null(), "{said}");
        }

        statuses(home, &server, &mut page).await?;

        let newest = server.revision("app/a").await?;
        let body = format!("{{\"CompactTo\":{newest}}}");
        let sent = server
            .client()
            .send(http::Method::PUT, "/v1/history", body.into(), http::HeaderMap::new())
            .await?;
        anyhow::ensure!(sent.status == 200, "{sent:?}");
        let mut watching = server.keyway(home).start(
            home,
            "compacted",
            &["kv", "watch", "app/", "--since", &first, "-o", "jsonl"],
        )?;
        for name in ["compacted", "snapshot"] {
            let line = watching
                .line(name, 0, |line| {
                    line.contains(&format!("\"event\":\"{name}\"")).then(|| line.to_owned())
                })
                .await?;
            page.is(name, &serde_json::from_str(&line)?)?;
        }
        watching.kill().await?;

        let status = ["cluster", "status", "-o", "json"];
        page.is("cluster", &server.keyway(home).run(&status).await?.expect(0)?.json()?)?;
        for (name, command) in [("saved", "save"), ("inspected", "inspect")] {
            let command = ["cluster", "snapshot", command, "backup.snap", "-o", "json"];
            page.is(name, &server.keyway(home).run(&command).await?.expect(0)?.json()?)?;
        }
        let restore = ["cluster", "snapshot", "restore", "backup.snap", "--yes", "-o", "json"];
        page.is("restored", &server.keyway(home).run(&restore).await?.expect(0)?.json()?)?;
        server.stop().await?;
        let data = server.data.display().to_string();
        let check = ["server", "check", "--data-dir", &data, "-o", "json"];
        page.is("check", &Keyway::new(home).run(&check).await?.expect(0)?.json()?)?;
        std::fs::remove_dir_all(server.data.join("state"))?;
        let mended = Keyway::new(home).run(&check).await?;
        page.is("check", &mended.json()?)?;

        // The other direction: what is on the page is real.
        let elsewhere = [
            "change omitted",
            "entry session",
            "status templates_omitted",
            "status variables names_omitted",
            "progress done",
            "restored left_out",
            "progress progress",
            "progress seconds",
            "progress total",
            "result session",
            "txn results_lost",
            "txn revision",
        ];
        // What `keyway deploy` prints has a test of its own.
        let mut never = page.unseen(|name| !name.starts_with("deploy "));
        never.retain(|member| !elsewhere.contains(&member.as_str()));
        assert_eq!(never, Vec::<String>::new(), "on the page, and in no document");
        Ok(())
    });
}
