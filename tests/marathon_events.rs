//! Marathon's events as they stand on the wire: cases of docs/marathon-cases.md.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::harness::dev::Dev;
use crate::harness::test;
use crate::marathon_apps::idle;

/// A connection that has asked for events, and the head of its answer.
fn open(address: &str, headers: &str) -> anyhow::Result<(BufReader<TcpStream>, Vec<String>)> {
    let host = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET /v2/events HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => return Ok((reader, head)),
            line => head.push(line.to_lowercase()),
        }
    }
}

/// The next chunk of a body.
fn chunk(reader: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut size = String::new();
    reader.read_line(&mut size)?;
    let size = usize::from_str_radix(size.trim(), 16).with_context(|| format!("no size of a chunk: {size:?}"))?;
    let mut bytes = vec![0; size + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(size);
    Ok(String::from_utf8(bytes)?)
}

/// Case 62.
#[test]
fn the_stream_is_chunked_and_plain_and_never_silent_for_ten_seconds() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let address = dev.api.address.clone();
        let raw = move || {
            let (_, head) = open(&address, "Accept: application/json\r\nConnection: close\r\n")?;
            assert!(head[0].starts_with("http/1.1 405"), "{head:?}");

            let asks = "Accept: text/event-stream\r\nAccept-Encoding: gzip, deflate\r\n";
            let (mut reader, head) = open(&address, asks)?;
            assert!(head[0].starts_with("http/1.1 200"), "{head:?}");
            let has = |line: &str| head.iter().any(|other| other.starts_with(line));
            assert!(
                has("transfer-encoding: chunked") && has("content-type: text/event-stream"),
                "{head:?}"
            );
            assert!(!has("content-encoding") && !has("content-length"), "{head:?}");
            let first = chunk(&mut reader)?;
            assert!(first.starts_with("event: event_stream_attached\r\ndata: {"), "{first}");
            assert!(first.ends_with("}\r\n\r\n") && first.lines().count() == 3, "{first}");

            // Whoever waits for more than ten seconds goes.
            reader.get_ref().set_read_timeout(Some(Duration::from_secs(10)))?;
            for _ in 0..2 {
                let nothing = chunk(&mut reader).context("nothing came within ten seconds")?;
                assert!(nothing.starts_with(": ") && nothing.len() >= 16, "{nothing}");
            }
            anyhow::Ok(())
        };
        tokio::task::spawn_blocking(raw).await?
    });
}

/// Case 63.
#[test]
fn kinds_of_events_are_chosen_and_plans_are_light_if_that_is_asked() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let kinds = "event_type=deployment_info&event_type=deployment_success";
        let mut whole = dev.api.events(kinds).await?;
        let mut light = dev.api.events(&format!("{kinds}&plan-format=light")).await?;
        dev.api.changed("POST", "/v2/apps", &idle("/web", 1)).await?;
        dev.api.changed("DELETE", "/v2/apps/web", &Value::Null).await?;

        // An app that comes has two steps, and one that goes has one.
        let expected = [
            "deployment_info",
            "deployment_info",
            "deployment_success",
            "deployment_info",
            "deployment_success",
        ];
        for kind in expected {
            for (stream, is_light) in [(&mut whole, false), (&mut light, true)] {
                let (name, event) = stream.json().await?;
                assert_eq!((name.as_str(), &event["eventType"]), (kind, &json!(kind)), "{event}");
                assert!(
                    event["timestamp"].is_string() && event["plan"]["id"].is_string(),
                    "{event}"
                );
                for group in ["original", "target"] {
                    assert_eq!(event["plan"][group].is_object(), !is_light, "{event}");
                }
            }
        }
        Ok(())
    });
}

/// Case 65. What the system holds for a reader comes on top of the 1,024, so much is told.
#[test]
fn who_stops_reading_is_let_go_and_the_others_hear_everything() {
    test(async |home| {
        let dev = Dev::start(home, "dev", &[]).await?;
        let address = dev.api.address.clone();
        let asks = "Accept: text/event-stream\r\nConnection: close\r\n";
        let open_slow = move || open(&address, asks);
        let (slow, head) = tokio::task::spawn_blocking(open_slow).await??;
        assert!(head[0].starts_with("http/1.1 200"), "{head:?}");
        let mut quick = dev.api.events("event_type=api_post_event").await?;

        let mut app = idle("/web", 0);
        app["env"] = json!({ "LONG": "x".repeat(60_000) });
        let changes = 500;
        for nth in 0..changes {
            app["labels"] = json!({ "nth": nth.to_string() });
            dev.api.change("PUT", "/v2/apps/web?force=true", &app).await?;
            let (_, event) = quick.json().await?;
            assert_eq!(event["appDefinition"]["labels"]["nth"], nth.to_string());
        }

        // What was held for it is still there, then the connection ends: it was not told all.
        let rest = move || {
            let (mut slow, mut text) = (slow, Vec::new());
            slow.read_to_end(&mut text).context("the end of the stream")?;
            anyhow::Ok(String::from_utf8_lossy(&text).matches("event: api_post_event").count())
        };
        let heard = tokio::task::spawn_blocking(rest).await??;
        assert!(heard < changes, "{heard} of {changes}");
        Ok(())
    });
}
