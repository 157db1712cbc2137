//! The server as whoever operates it sees it: start, stop, refusals.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::News;
use nix::sys::signal::Signal;

use crate::harness::{Exit, Home, Keyway, Options, Server, alone, holds, test};

#[test]
fn term_ends_streams_with_a_last_event_and_the_server_within_two_seconds() {
    alone(Duration::from_secs(60), async |home| {
        let mut server = Server::start(home).await?;
        server.put("a", "1").await?;
        let body = stream(&server, "/v1/watch?key=a").await?;
        let asked = Instant::now();

        let exit = server.stop().await?;

        assert_eq!(exit, Exit::Code(0));
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        let text = body.await??;
        let last = text.rsplit("event: ").next().unwrap_or_default();
        assert!(last.starts_with("end\n") && last.contains("Reason"), "{text}");
        Ok(())
    });
}

/// Opens a stream; its text, once it has ended.
async fn stream(server: &Server, path: &str) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<String>>> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let kvapi::Address::Tcp(authority) = &server.address else {
        anyhow::bail!("not a TCP address");
    };
    let mut socket = tokio::net::TcpStream::connect(authority).await?;
    socket
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes())
        .await?;
    let mut begin = vec![0; 4096];
    let read = socket.read(&mut begin).await?;
    begin.truncate(read);
    Ok(tokio::spawn(async move {
        socket.read_to_end(&mut begin).await?;
        Ok(String::from_utf8_lossy(&begin).into_owned())
    }))
}

#[test]
fn a_write_that_was_taken_before_term_is_answered() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        let client = server.client();
        let writes = tokio::spawn(async move {
            let mut done = 0_u32;
            loop {
                match client.put("n", (done + 1).to_string(), &Default::default()).await {
                    Ok(_) => done += 1,
                    Err(error) => return (done, error),
                }
            }
        });
        let client = server.client();
        holds("a write", async || {
            client
                .get("n", Default::default())
                .await
                .is_ok_and(|n| n.value.is_some())
        })
        .await?;

        assert_eq!(server.stop().await?, Exit::Code(0));

        let (done, error) = writes.await?;
        assert!(!matches!(error, kvapi::Error::Refused { .. }), "{error}");
        server.restart(home).await?;
        let there = server
            .client()
            .get("n", Default::default())
            .await?
            .value
            .map(|entry| entry.value);
        let there: u32 = String::from_utf8_lossy(&there.unwrap_or_default()).parse()?;
        assert!(
            there == done || (matches!(error, kvapi::Error::Unknown(_)) && there == done + 1),
            "{there} {done}"
        );
        Ok(())
    });
}

/// A server that ends by itself, and what it said.
async fn refusal(home: &Home, options: Options) -> anyhow::Result<(Exit, String)> {
    let mut program = Server::spawn(home, "refused", &options)?;
    let exit = program.exit().await?;
    Ok((exit, program.log()))
}

#[test]
fn a_data_folder_in_use_is_refused_with_the_remedy() {
    test(async |home| {
        let _server = Server::start(home).await?;

        let (exit, said) = refusal(home, Options::default()).await?;

        assert!(!matches!(exit, Exit::Code(0)), "{exit:?}");
        assert!(
            said.contains("in use") && said.contains("/data") && said.contains("--data-dir"),
            "{said}"
        );
        Ok(())
    });
}

#[test]
fn a_data_folder_of_a_newer_format_is_refused_with_the_remedy() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        server.stop().await?;
        let about = std::fs::read_dir(&server.data)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.is_file() && std::fs::read_to_string(path).is_ok_and(|text| text.contains("format")));
        let about = anyhow::Context::context(about, "a file that names the format")?;
        let text = std::fs::read_to_string(&about)?;
        crate::harness::write_file(&about, newer(&text))?;

        let (exit, said) = refusal(home, Options::default()).await?;

        assert!(!matches!(exit, Exit::Code(0)), "{exit:?}");
        assert!(said.contains("format") && said.contains("newer version"), "{said}");
        Ok(())
    });
}

/// The text with the number behind `format` made a thousand larger.
fn newer(text: &str) -> String {
    let at = text.find("format").map_or(0, |at| at + "format".len());
    let digit = text[at..]
        .find(|c: char| c.is_ascii_digit())
        .map_or(at, |found| at + found);
    format!("{}100{}", &text[..digit], &text[digit..])
}

#[test]
fn listening_beyond_this_machine_needs_a_word() {
    test(async |home| {
        let everywhere = || Options {
            address: Some("0.0.0.0:0".into()),
            ..Options::default()
        };

        let (exit, said) = refusal(home, everywhere()).await?;

        assert!(!matches!(exit, Exit::Code(0)), "{exit:?}");
        assert!(said.contains("--insecure-listen"), "{said}");
        Server::with(
            home,
            Options {
                flags: vec!["--insecure-listen".into()],
                ..everywhere()
            },
        )
        .await?;
        Ok(())
    });
}

#[test]
fn a_port_that_is_taken_is_named() {
    test(async |home| {
        let server = Server::start(home).await?;
        let port = server.address.to_string();

        let same = Options {
            address: Some(port.clone()),
            data: Some(home.path("other")),
            ..Options::default()
        };
        let (exit, said) = refusal(home, same).await?;

        assert!(!matches!(exit, Exit::Code(0)), "{exit:?}");
        assert!(said.contains(port.trim_start_matches("http://")), "{said}");
        Ok(())
    });
}

#[test]
fn a_place_where_nothing_can_be_is_refused_with_the_remedy() {
    test(async |home| {
        home.write("afile", "")?;
        let at = |address: Option<&str>, data: PathBuf| Options {
            address: address.map(str::to_owned),
            data: Some(data),
            ..Options::default()
        };
        for (options, code, reason, remedy) in [
            (
                at(None, home.path("afile")),
                3,
                "Not a directory",
                "name a folder with --data-dir",
            ),
            (
                at(None, "/proc/nothing/can/be/here".into()),
                3,
                "/proc",
                "name another folder with --data-dir",
            ),
            (
                at(Some("unix:/nowhere/at/all/sock"), home.path("data")),
                2,
                "No such file or directory",
                "make its folder first",
            ),
        ] {
            let (exit, said) = refusal(home, options).await?;
            let said = said.lines().rfind(|line| line.contains("error")).unwrap_or_default();
            assert_eq!(exit, Exit::Code(code), "{said}");
            assert_eq!(said.matches(reason).count(), 1, "{said}");
            assert!(said.contains(remedy), "{said}");
        }
        let check = ["server", "check", "--data-dir", "afile"];
        let said = crate::harness::Keyway::new(home).run(&check).await?.expect(3)?;
        assert!(said.err.contains("name a folder with --data-dir"), "{}", said.err);
        Ok(())
    });
}

#[test]
fn a_unix_socket_is_an_address_like_any_other_and_a_dead_one_is_no_obstacle() {
    test(async |home| {
        let address = format!("unix://{}", home.path("k.sock").display());
        let mut server = Server::with(
            home,
            Options {
                address: Some(address),
                ..Options::default()
            },
        )
        .await?;
        server.put("a", "1").await?;
        server.program.kill().await?;

        server.restart(home).await?;

        server.keyway(home).run(&["kv", "get", "a"]).await?.expect(0)?;
        Ok(())
    });
}

#[test]
fn it_says_when_it_lives_and_when_it_is_ready() {
    test(async |home| {
        let server = Server::start(home).await?;
        for path in ["/livez", "/readyz"] {
            let reply = server.request("GET", path, &[]).await?;
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
        }
        let reply = server.request("GET", "/v1/status/leader", &[]).await?;
        assert_eq!(reply.header("x-keyway-cluster"), Some(server.cluster.as_str()));
        Ok(())
    });
}

#[test]
fn a_second_server_on_the_same_folder_takes_over_its_cluster_and_revision() {
    test(async |home| {
        let mut server = Server::start(home).await?;
        server.put("a", "1").await?;
        let (cluster, before) = (
            server.cluster.clone(),
            server.client().get("a", Default::default()).await?,
        );
        server.program.signal(Signal::SIGINT)?;
        assert_eq!(server.program.exit().await?, Exit::Code(0));

        server.restart(home).await?;

        assert_eq!(server.cluster, cluster);
        assert_eq!(server.client().get("a", Default::default()).await?, before);
        let mut watch = server.client().watch(WatchRequest {
            keys: vec!["a".into()],
            ..WatchRequest::default()
        });
        assert!(matches!(watch.next().await, News::Connected { cluster, .. } if cluster == server.cluster));
        assert!(
            matches!(watch.next().await, News::Event(WatchEvent::Snapshot(snapshot)) if snapshot.revision == before.revision)
        );
        Ok(())
    });
}

#[test]
fn dev_is_a_store_by_itself_that_says_what_to_try_and_leaves_nothing() {
    test(async |home| {
        let temporary = home.path("tmp");
        std::fs::create_dir_all(&temporary)?;
        let mut dev = Keyway::new(home)
            .env("TMPDIR", &temporary.display().to_string())
            .start(home, "dev", &["dev", "--http-addr", "127.0.0.1:0"])?;
        let address = dev
            .line("where it listens", 0, |line| {
                let (_, rest) = line.split_once("http=")?;
                Some(rest.split(' ').next()?.to_owned())
            })
            .await?;
        holds("it says what to try", async || dev.log().contains("keyway kv put")).await?;

        let keyway = || Keyway::new(home).addr(&address);
        keyway().run(&["kv", "put", "app/greeting", "hello"]).await?.expect(0)?;
        assert_eq!(
            keyway().run(&["kv", "get", "app/greeting"]).await?.expect(0)?.text(),
            "hello"
        );

        dev.signal(Signal::SIGINT)?;
        assert_eq!(dev.exit().await?, Exit::Code(0));
        assert_eq!(std::fs::read_dir(temporary)?.count(), 0);
        Ok(())
    });
}
