//! What every command does alike: forms of output, settings and where they are from, help, errors.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::harness::{Home, Keyway, Said, Server, test};

async fn keyway(home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
    Keyway::new(home).run(arguments).await
}

async fn kv(server: &Server, home: &Home, arguments: &[&str]) -> anyhow::Result<Said> {
    server.keyway(home).run(&[&["kv"], arguments].concat()).await
}

#[test]
fn the_form_of_the_data_can_be_chosen() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        server.put("app/b", "two\nlines\n").await?;

        let yaml = kv(&server, home, &["get", "-o", "yaml", "app/a"])
            .await?
            .expect(0)?
            .text();
        assert!(
            yaml.contains("key: app/a\n") && yaml.contains("value: \"1\"\n"),
            "{yaml}"
        );
        let table = kv(&server, home, &["ls", "-o", "table", "-r"]).await?.expect(0)?.text();
        assert!(table.starts_with("SIZE  REVISION  FLAGS  KEY\n"), "{table}");
        let table = kv(&server, home, &["ls", "-l", "-r", "--no-headers"])
            .await?
            .expect(0)?
            .text();
        assert_eq!(table.lines().count(), 2, "{table}");
        let names = kv(&server, home, &["ls", "-o", "name", "-r"]).await?.expect(0)?.text();
        assert_eq!(names, "app/a\napp/b\n");
        let table = kv(&server, home, &["get", "-r", "-o", "table", "app/"])
            .await?
            .expect(0)?
            .text();
        assert!(
            table.starts_with("KEY    REVISION  VALUE\n") && table.contains("\"two\\nlines\\n\""),
            "{table}"
        );
        for (arguments, names) in [
            (["get", "-r", "app/"], "app/a\napp/b\n"),
            (["put", "app/c", "1"], "app/c\n"),
            (["delete", "app/c", "app/d"], "app/c\n"),
        ] {
            let said = kv(&server, home, &[&arguments[..], &["-o", "name"]].concat())
                .await?
                .expect(0)?;
            assert_eq!(said.text(), names);
        }
        let rows = ["ls", "-l", "-o", "jsonl", "app", "--format", "{{key}} has {{size}}"];
        assert_eq!(
            kv(&server, home, &rows).await?.expect(0)?.text(),
            "app/a has 1\napp/b has 10\n"
        );
        let one = kv(&server, home, &["get", "app/a", "--format", "<{{value}}>"])
            .await?
            .expect(0)?;
        assert_eq!(one.text(), "<1>\n");
        Ok(())
    });
}

#[test]
fn a_template_that_is_wrong_is_an_error_with_the_fields_that_there_are() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;

        let said = kv(&server, home, &["get", "a", "--format", "{{vlaue}}"])
            .await?
            .expect(3)?;
        assert!(
            said.err.contains("vlaue") && said.err.contains("the fields are"),
            "{}",
            said.err
        );
        let said = kv(&server, home, &["get", "a", "--format", "{{#if"]).await?.expect(3)?;
        assert!(
            said.err.contains("keyway help templates") && said.out.is_empty(),
            "{said:?}"
        );
        Ok(())
    });
}

#[test]
fn a_dry_run_of_any_write_writes_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/a", "1").await?;
        kv(&server, home, &["put", "--dry-run", "app/a", "2"])
            .await?
            .expect(0)?;
        kv(&server, home, &["delete", "--dry-run", "app/a"]).await?.expect(0)?;
        server
            .keyway(home)
            .stdin("b: 1\n")
            .run(&["kv", "import", "--dry-run", "--as", "yaml", "-"])
            .await?
            .expect(0)?;
        server
            .keyway(home)
            .env("KEYWAY_DRY_RUN", "1")
            .run(&["kv", "put", "c", "1"])
            .await?
            .expect(0)?;
        assert_eq!(kv(&server, home, &["get", "app/a"]).await?.text(), "1");
        assert_eq!(kv(&server, home, &["ls", "-r"]).await?.text(), "app/a\n");
        keyway(home, &["config", "init", "--dry-run"]).await?.expect(0)?;
        assert!(!home.path("config").exists());
        let said = keyway(home, &["demo", "--dry-run"]).await?.expect(2)?;
        assert!(
            said.err.contains("--dry-run is for commands that write settings"),
            "{}",
            said.err
        );
        Ok(())
    });
}

/// The origin of a setting.
async fn origin(keyway: Keyway, key: &str) -> anyhow::Result<(Value, String)> {
    let said = keyway.run(&["config", "show", "-o", "json"]).await?.expect(0)?;
    let shown: Value = serde_json::from_slice(&said.out)?;
    let settings = shown["settings"].as_array().context("a list")?;
    let one = settings.iter().find(|one| one["key"] == key).context("the key")?;
    Ok((
        one["value"].clone(),
        one["origin"].as_str().unwrap_or_default().to_owned(),
    ))
}

#[test]
fn each_setting_tells_where_it_is_from() {
    test(async |home| {
        let user = home.write(
            "config/keyway/config.toml",
            "addr = \"http://user\"\ntimeout = \"7s\"\n",
        )?;
        let user = user.display().to_string();
        assert_eq!(origin(Keyway::new(home), "timeout").await?, ("7s".into(), user.clone()));
        assert_eq!(origin(Keyway::new(home), "addr").await?, ("http://user".into(), user));
        assert_eq!(origin(Keyway::new(home), "color").await?.1, "default");
        home.write("keyway.toml", "addr = \"http://project\"\n")?;
        assert_eq!(
            origin(Keyway::new(home), "addr").await?,
            ("http://project".into(), "keyway.toml".into())
        );
        let by_variable = Keyway::new(home).env("KEYWAY_ADDR", "http://variable");
        assert_eq!(
            origin(by_variable, "addr").await?,
            ("http://variable".into(), "environment".into())
        );
        let said = keyway(home, &["config", "show", "--origin", "--addr", "http://flag"])
            .await?
            .expect(0)?
            .text();
        assert!(
            said.lines()
                .any(|line| line.starts_with("addr = \"http://flag\"") && line.ends_with("# flag")),
            "{said}"
        );
        let said = keyway(home, &["config", "show", "--token", "secret"])
            .await?
            .expect(0)?
            .text();
        assert!(!said.contains("secret"), "{said}");

        home.write("keyway.toml", "adr = \"http://x\"\n")?;
        let said = keyway(home, &["kv", "ls"]).await?.expect(3)?;
        assert!(
            said.err.contains("error[E0101]") && said.err.contains("did you mean `addr`?"),
            "{}",
            said.err
        );
        keyway(home, &["help", "environment"]).await?.expect(0)?;
        home.write("keyway.toml", "token_file = \"/etc/passwd\"\n")?;
        keyway(home, &["kv", "ls"]).await?.expect(3)?;
        Ok(())
    });
}

#[test]
fn a_file_to_begin_with_is_written_once() {
    test(async |home| {
        let said = keyway(home, &["config", "init"]).await?.expect(0)?;
        assert_eq!(
            said.text().trim(),
            home.path("config/keyway/config.toml").display().to_string()
        );
        let before = home.read("config/keyway/config.toml")?;
        keyway(home, &["config", "init"]).await?.expect(5)?;
        assert_eq!(home.read("config/keyway/config.toml")?, before);
        keyway(home, &["config", "show"]).await?.expect(0)?;
        Ok(())
    });
}

#[test]
fn a_context_is_an_address_and_a_token_by_a_name() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("here", "yes").await?;
        let addr = server.address.to_string();
        let get = ["kv", "get", "here"];

        keyway(home, &["context", "add", "mine"]).await?.expect(2)?;
        keyway(home, &["context", "add", "mine", "--addr", &addr, "--token", "s3cret"])
            .await?
            .expect(0)?;
        keyway(home, &["context", "add", "mine", "--addr", &addr])
            .await?
            .expect(5)?;
        keyway(home, &["context", "add", "dead", "--addr", "http://127.0.0.1:1"])
            .await?
            .expect(0)?;
        let file = home.path("config/keyway/contexts.toml");
        assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);

        assert_eq!(
            keyway(home, &[&["--context", "mine"], &get[..]].concat())
                .await?
                .expect(0)?
                .text(),
            "yes"
        );
        let by_variable = Keyway::new(home).env("KEYWAY_CONTEXT", "mine");
        assert_eq!(by_variable.run(&get).await?.expect(0)?.text(), "yes");
        keyway(home, &["context", "use", "mine"]).await?.expect(0)?;
        assert_eq!(keyway(home, &get).await?.expect(0)?.text(), "yes");
        keyway(home, &[&["--context", "dead", "--timeout", "300ms"], &get[..]].concat())
            .await?
            .expect(6)?;
        // A flag is nearer than a variable.
        let near = Keyway::new(home).env("KEYWAY_ADDR", "http://127.0.0.1:1");
        assert_eq!(
            near.run(&[&["--context", "mine"], &get[..]].concat())
                .await?
                .expect(0)?
                .text(),
            "yes"
        );

        let shown = keyway(home, &["context", "ls"]).await?.expect(0)?.text();
        assert!(
            shown.contains("*  mine") && shown.contains(&addr) && !shown.contains("s3cret"),
            "{shown}"
        );
        let shown = keyway(home, &["context", "ls", "-o", "json"]).await?.expect(0)?.text();
        assert!(
            shown.contains("\"has_token\": true") && !shown.contains("s3cret"),
            "{shown}"
        );
        assert_eq!(
            keyway(home, &["context", "ls", "-o", "name"]).await?.text(),
            "dead\nmine\n"
        );
        let said = keyway(home, &["context", "use", "mne"]).await?.expect(2)?;
        assert!(
            said.err.contains("error[E0102]") && said.err.contains("did you mean `mine`?"),
            "{}",
            said.err
        );
        keyway(home, &["context", "rm", "mine"]).await?.expect(0)?;
        assert_eq!(keyway(home, &["context", "ls", "-o", "name"]).await?.text(), "dead\n");
        Ok(())
    });
}

#[test]
fn the_environment_of_consul_is_read_on_demand_only() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("a", "1").await?;
        let addr = server.address.to_string();
        let consul = || Keyway::new(home).env("CONSUL_HTTP_ADDR", &addr).timeout("300ms");

        assert_eq!(origin(consul(), "addr").await?.1, "default");
        assert_eq!(
            consul()
                .run(&["--consul-env", "kv", "get", "a"])
                .await?
                .expect(0)?
                .text(),
            "1"
        );
        let called = Keyway::consul(home)?.env("CONSUL_HTTP_ADDR", &addr);
        assert_eq!(called.run(&["kv", "get", "a"]).await?.expect(0)?.text(), "1\n");
        Ok(())
    });
}

#[test]
fn a_token_comes_from_a_flag_a_file_or_a_person() {
    test(async |home| {
        let file = home.write("token", "from-file\n")?.display().to_string();
        let token = async |keyway: Keyway| anyhow::Ok(origin(keyway, "token").await?.1);
        assert_eq!(
            token(Keyway::new(home).env("KEYWAY_TOKEN_FILE", &file)).await?,
            "environment"
        );
        let said = keyway(home, &["config", "show", "--token-file", "nowhere"])
            .await?
            .expect(2)?;
        assert!(said.err.contains("nowhere"), "{}", said.err);
        let said = keyway(home, &["config", "show", "--token", "-", "--no-input"])
            .await?
            .expect(2)?;
        assert!(said.err.contains("--token-file"), "{}", said.err);
        // setsid: nobody is there to be asked.
        let alone = Command::new("setsid")
            .args(["-w", env!("CARGO_BIN_EXE_keyway"), "config", "show", "--token", "-"])
            .output()?;
        assert_eq!(
            alone.status.code(),
            Some(2),
            "{}",
            String::from_utf8_lossy(&alone.stderr)
        );
        Ok(())
    });
}

#[test]
fn a_failure_has_a_code_that_is_explained() {
    test(async |home| {
        let server = Server::start(home).await?;
        let said = kv(&server, home, &["get", "-o", "json", "a"]).await?.expect(1)?;
        let told: Value = serde_json::from_str(&said.err)?;
        assert_eq!(
            (&told["code"], &told["exit_code"]),
            (&"E0201".into(), &1.into()),
            "{told}"
        );
        let text = keyway(home, &["explain", "e0201"]).await?.expect(0)?.text();
        assert!(
            text.starts_with("E0201: the key is not there") && text.contains("Exit code: 1"),
            "{text}"
        );
        let all = keyway(home, &["explain"]).await?.expect(0)?.text();
        assert!(all.starts_with("CODE") && all.lines().count() > 20, "{all}");
        keyway(home, &["explain", "E9999"]).await?.expect(2)?;
        Ok(())
    });
}

#[test]
fn every_topic_of_the_help_is_there() {
    test(async |home| {
        for (topic, part) in [
            ("exit-codes", "124"),
            ("exit-codes", "130"),
            ("environment", "KEYWAY_CONTEXT"),
            ("formats", "jsonl"),
            ("templates", "shellQuote"),
        ] {
            let text = keyway(home, &["help", topic]).await?.expect(0)?.text();
            assert!(text.contains(part), "{topic}: {text}");
        }
        let said = keyway(home, &["help", "formts"]).await?.expect(2)?;
        assert!(said.err.contains("did you mean `formats`?"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn manual_pages_are_clean_and_completions_are_there_for_every_shell() {
    test(async |home| {
        keyway(home, &["man", "--out", "man"]).await?.expect(0)?;
        let pages: Vec<_> = std::fs::read_dir(home.path("man"))?.collect::<Result<_, _>>()?;
        assert!(pages.len() > 20, "{} pages", pages.len());
        let groff = Command::new("groff").arg("--version").output().is_ok();
        for page in pages.iter().filter(|_| groff) {
            let checked = Command::new("groff")
                .args(["-man", "-Tutf8", "-ww", "-z"])
                .arg(page.path())
                .output()?;
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(
                checked.status.success() && said.is_empty(),
                "{}: {said}",
                page.path().display()
            );
        }
        let one = keyway(home, &["man", "kv", "put"]).await?.expect(0)?.text();
        assert!(one.contains(".TH keyway-kv-put 1"), "{one}");
        for shell in ["bash", "zsh", "fish", "elvish", "powershell", "nushell"] {
            let script = keyway(home, &["completions", shell]).await?.expect(0)?.text();
            assert!(script.contains("keyway") && script.contains("export"), "{shell}");
        }
        let script = home.write("keyway.bash", keyway(home, &["completions", "bash"]).await?.out)?;
        let checked = Command::new("bash").arg("-n").arg(&script).output()?;
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        Ok(())
    });
}

#[test]
fn colour_is_for_terminals_and_for_those_who_insist() {
    test(async |home| {
        let run = async |variables: &[(&str, &str)], arguments: &[&str]| {
            let keyway = variables
                .iter()
                .fold(Keyway::new(home), |keyway, (name, value)| keyway.env(name, value));
            anyhow::Ok(
                keyway
                    .run(&[&["explain", "E0201"], arguments].concat())
                    .await?
                    .text()
                    .contains('\x1b'),
            )
        };
        assert!(!run(&[], &[]).await?);
        assert!(!run(&[("NO_COLOR", "")], &[]).await?, "a pipe");
        assert!(run(&[("NO_COLOR", ""), ("CLICOLOR_FORCE", "1")], &[]).await?);
        assert!(!run(&[("CLICOLOR_FORCE", "1")], &[]).await?, "NO_COLOR outranks it");
        assert!(run(&[], &["--color", "always"]).await?);
        assert!(!run(&[("NO_COLOR", ""), ("CLICOLOR_FORCE", "1")], &["--color", "never"]).await?);
        Ok(())
    });
}
