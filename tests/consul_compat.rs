//! `consul kv`, to the byte: the program through a symlink named `consul`, its output, its errors and its code
//! compared whole with what Consul 1.22's own command prints. Here: flags, environment, failures of the API; the
//! commands one by one are in `consul_commands`.

use crate::harness::{Home, Keyway, Options, Server, test};

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// A server, and the command that asks it.
pub(crate) struct Consul<'a> {
    home: &'a Home,
    address: String,
}

/// What a row expects: the code, the output, the errors.
pub(crate) type Said<'a> = (i32, &'a str, &'a str);

impl Consul<'_> {
    fn command(&self) -> anyhow::Result<Keyway> {
        // What is Keyway's own does not count.
        let command = Keyway::consul(self.home)?
            .addr("http://nowhere")
            .env("KEYWAY_OUTPUT", "json");
        Ok(command.env("CONSUL_HTTP_ADDR", &self.address))
    }

    pub(crate) async fn says(&self, arguments: &[&str], expected: Said<'_>) -> anyhow::Result<()> {
        self.says_to("", arguments, expected).await
    }

    pub(crate) async fn says_to(&self, stdin: &str, arguments: &[&str], expected: Said<'_>) -> anyhow::Result<()> {
        check(self.command()?.stdin(stdin), &[&["kv"], arguments].concat(), expected).await
    }

    pub(crate) async fn all_say(&self, rows: &[(&[&str], Said<'_>)]) -> anyhow::Result<()> {
        for (arguments, expected) in rows {
            self.says(arguments, *expected).await?;
        }
        Ok(())
    }
}

async fn check(command: Keyway, arguments: &[&str], (code, out, err): Said<'_>) -> anyhow::Result<()> {
    let said = command.run(arguments).await?.expect(code)?;
    anyhow::ensure!(
        said.text() == out && said.err == err,
        "{arguments:?} prints\n{:?}\n{:?}\nand not\n{out:?}\n{err:?}",
        said.text(),
        said.err
    );
    Ok(())
}

pub(crate) fn with(body: impl AsyncFnOnce(&Home, &Server, &Consul<'_>) -> anyhow::Result<()>) {
    test(async |home| {
        let server = Server::start(home).await?;
        let address = server.address.to_string();
        body(home, &server, &Consul { home, address }).await
    });
}

#[test]
fn a_failure_of_the_api_is_told_in_the_words_of_go() {
    with(async |home, _, consul| {
        let dc = "Unexpected response code: 500 (No path to datacenter)\n";
        consul
            .all_say(&[
                (
                    &["get", "-datacenter=no", "a"],
                    (1, "", &format!("Error querying Consul agent: {dc}")),
                ),
                (
                    &["export", "-datacenter=no"],
                    (1, "", &format!("Error querying Consul agent: {dc}")),
                ),
                (
                    &["put", "-datacenter=no", "a"],
                    (1, "", &format!("Error! Failed writing data: {dc}")),
                ),
                (
                    &["delete", "-datacenter=no", "a"],
                    (1, "", &format!("Error deleting key a: {dc}")),
                ),
            ])
            .await?;
        let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = silent.local_addr()?.to_string();
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = silent.accept()?;
            // The whole request: what is left unread would be a reset.
            std::io::Read::read(&mut stream, &mut [0; 4096])
        });
        let broken = format!("Error querying Consul agent: Get \"http://{address}/v1/kv/a\": EOF\n");
        Consul { home, address }.says(&["get", "a"], (1, "", &broken)).await?;
        anyhow::ensure!(answers.join().expect("it does not panic")? > 0, "nothing was asked");
        let nobody = Consul {
            home,
            address: NOBODY.into(),
        };
        let refused = |name: &str, rest: &str| {
            format!("{name} \"http://{NOBODY}/v1/kv/{rest}\": dial tcp {NOBODY}: connect: connection refused\n")
        };
        let asked = |rest: &str| format!("Error querying Consul agent: {}", refused("Get", rest));
        let import = "[{\"key\":\"a b\",\"flags\":1}]";
        nobody
            .all_say(&[
                (&["get", "a"], (1, "", &asked("a"))),
                (
                    &["get", "-recurse", "-stale", "a b?"],
                    (1, "", &asked("a%20b%3F?recurse=&stale=")),
                ),
                (&["get", "-keys"], (1, "", &asked("?keys=&separator=%2F"))),
                (&["export", "-datacenter=dc 1"], (1, "", &asked("?dc=dc+1&recurse="))),
                (
                    &["put", "-flags=7", "a"],
                    (
                        1,
                        "",
                        &format!("Error! Failed writing data: {}", refused("Put", "a?flags=7")),
                    ),
                ),
                (
                    &["put", "-cas", "-modify-index=5", "a"],
                    (
                        1,
                        "",
                        &format!("Error! Did not write to a: {}", refused("Put", "a?cas=5")),
                    ),
                ),
                (
                    &["delete", "a"],
                    (1, "", &format!("Error deleting key a: {}", refused("Delete", "a"))),
                ),
                (
                    &["delete", "-recurse", "a"],
                    (
                        1,
                        "",
                        &format!("Error! Did not delete prefix a: {}", refused("Delete", "a?recurse=")),
                    ),
                ),
                (
                    &["import", import],
                    (
                        1,
                        "",
                        &format!(
                            "Error! Failed writing data for key a b: {}",
                            refused("Put", "a%20b?flags=1")
                        ),
                    ),
                ),
            ])
            .await
    });
}

#[test]
fn consuls_flags_and_environment_say_where_to_ask() {
    test(async |home| {
        let socket = home.path("k.sock");
        let server = Server::with(
            home,
            Options {
                address: Some(format!("unix://{}", socket.display())),
                ..Options::default()
            },
        )
        .await?;
        server.put("a", "1").await?;
        let at = |address: &str| Consul {
            home,
            address: address.into(),
        };
        let unix = format!("unix://{}", socket.display());
        at(&unix).says(&["get", "a"], (0, "1\n", "")).await?;
        at("http://nowhere")
            .says(&["get", "-http-addr", &unix, "a"], (0, "1\n", ""))
            .await?;

        let failed = |url: &str, why: &str| format!("Error querying Consul agent: Get \"{url}\": {why}\n");
        let missing = failed(
            "http://localhost/v1/kv/a",
            "dial unix /nowhere: connect: no such file or directory",
        );
        at("unix:///nowhere").says(&["get", "a"], (1, "", &missing)).await?;
        let proxy = failed(
            "http://127.0.0.1:1/behind/a/v1/kv/a",
            "dial tcp 127.0.0.1:1: connect: connection refused",
        );
        at("http://127.0.0.1:1/behind/a")
            .says(&["get", "a"], (1, "", &proxy))
            .await?;
        let connect = |why: &str| format!("Error connecting to Consul agent: {why}\n");
        at("ftp://h")
            .says(&["get", "a"], (1, "", &connect("Unknown protocol scheme: ftp")))
            .await?;

        home.write("token", "secret\n")?;
        let token = ["get", "-token=other", "-token-file", "token", "a"];
        at(&unix).says(&token, (0, "1\n", "")).await?;
        let lost = connect("Error loading token file: open no: no such file or directory");
        at(&unix).says(&["get", "-token-file=no", "a"], (1, "", &lost)).await?;
        let by_variable = at(&unix).command()?.env("CONSUL_HTTP_TOKEN_FILE", "no");
        check(by_variable, &["kv", "get", "a"], (1, "", &lost)).await?;

        let tls = |what: &str| {
            connect(&format!(
                "no TLS yet: {what} is refused; use http:// or unix:// without it"
            ))
        };
        for flag in [
            "-ca-file",
            "-ca-path",
            "-client-cert",
            "-client-key",
            "-tls-server-name",
        ] {
            at(&unix).says(&["get", flag, "x", "a"], (1, "", &tls(flag))).await?;
        }
        at("https://h").says(&["get", "a"], (1, "", &tls("https://h"))).await?;
        let ssl = at(&unix).command()?.env("CONSUL_HTTP_SSL", "true");
        check(ssl, &["kv", "get", "a"], (1, "", &tls("CONSUL_HTTP_SSL"))).await
    });
}

/// What Go prints of the flags of `consul kv export`.
const EXPORT_FLAGS: &str = "Usage:
  -ca-file value
    \tRefused: there is no TLS yet
  -ca-path value
    \tRefused: there is no TLS yet
  -client-cert value
    \tRefused: there is no TLS yet
  -client-key value
    \tRefused: there is no TLS yet
  -datacenter value
    \tDatacenter to ask; there is one, dc1
  -http-addr address
    \taddress of the server: HOST:PORT, http://HOST:PORT/PREFIX or unix://PATH; also CONSUL_HTTP_ADDR
  -namespace value
    \tSent as it is; the server refuses it
  -partition value
    \tSent as it is; the server refuses it
  -stale
    \tTake whatever the server asked has, however old
  -tls-server-name value
    \tRefused: there is no TLS yet
  -token value
    \tToken to show to the server; also CONSUL_HTTP_TOKEN
  -token-file value
    \tFile that holds the token; also CONSUL_HTTP_TOKEN_FILE
";

#[test]
fn flags_that_are_wrong_are_said_as_go_says_them() {
    test(async |home| {
        let consul = Consul {
            home,
            address: NOBODY.into(),
        };
        let wrong = |said: &str| format!("{said}\n{EXPORT_FLAGS}");
        for (arguments, said) in [
            (vec!["export", "-x"], "flag provided but not defined: -x"),
            (
                vec!["export", "--recurse=true"],
                "flag provided but not defined: -recurse",
            ),
            (vec!["export", "-token"], "flag needs an argument: -token"),
            (vec!["export", "---stale"], "bad flag syntax: ---stale"),
            (
                vec!["export", "-stale=x"],
                "invalid boolean value \"x\" for -stale: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
        ] {
            consul.says(&arguments, (1, "", &wrong(said))).await?;
        }
        for (arguments, said) in [
            (
                vec!["kv", "put", "-flags=x", "k"],
                "invalid value \"x\" for flag -flags: parse error\nUsage:\n",
            ),
            (
                vec!["kv", "get", "-keys=x"],
                "invalid boolean value \"x\" for -keys: parse error\nUsage:\n",
            ),
            (vec!["kv"], "Usage: consul kv <subcommand> [options] [args]\n"),
            (
                vec!["kv", "history", "a"],
                "Error! There is no command `consul kv history`\n\nUsage: consul kv <",
            ),
            (vec![], "Usage: consul [--help] <command> [<args>]\n"),
            (
                vec!["catalog"],
                "Error! There is no command `consul catalog` here\n\nUsage: consul [--help]",
            ),
            (vec!["kv", "-stale", "get", "a"], "Invalid flags before the subcommand."),
        ] {
            let said_now = consul.command()?.run(&arguments).await?.expect(1)?;
            assert!(
                said_now.out.is_empty() && said_now.err.starts_with(said),
                "{arguments:?}: {said_now:?}"
            );
        }
        for arguments in [
            vec!["-h"],
            vec!["kv", "--help"],
            vec!["kv", "get", "-help"],
            vec!["kv", "put", "k", "-h"],
        ] {
            let said = consul.command()?.run(&arguments).await?.expect(0)?;
            assert!(
                said.err.is_empty() && said.text().starts_with("Usage: consul "),
                "{arguments:?}: {said:?}"
            );
        }
        Ok(())
    });
}

#[test]
fn the_flag_and_the_variable_do_what_the_name_does() {
    with(async |home, server, consul| {
        server.put("a", "1").await?;
        let keyway = || Keyway::new(home).env("CONSUL_HTTP_ADDR", &consul.address);
        let missing = (1, "", "Error! No key exists at: no\n");
        check(keyway(), &["--compat", "consul", "kv", "get", "a"], (0, "1\n", "")).await?;
        check(keyway(), &["--compat=consul", "kv", "get", "no"], missing).await?;
        let by_variable = || keyway().env("KEYWAY_COMPAT", "consul");
        check(by_variable(), &["kv", "get", "a"], (0, "1\n", "")).await?;
        check(by_variable(), &["kv", "get", "no"], missing).await?;

        by_variable().run(&["version"]).await?.expect(0)?;
        let late = by_variable().run(&["-q", "kv", "get", "a"]).await?.expect(2)?;
        assert!(
            late.err.contains("unset it for a command of Keyway's own"),
            "{}",
            late.err
        );
        let late = keyway()
            .run(&["kv", "get", "a", "--compat", "consul"])
            .await?
            .expect(2)?;
        assert!(late.err.contains("keyway --compat consul kv get KEY"), "{}", late.err);
        keyway().run(&["--compat", "etcd", "kv", "get", "a"]).await?.expect(2)?;
        check(server.keyway(home), &["kv", "get", "a"], (0, "1", "")).await?;
        let help = keyway().run(&["--help"]).await?.expect(0)?;
        assert!(help.text().contains("--compat <PROGRAM>"), "{}", help.text());
        Ok(())
    });
}
