//! What clients of Consul rely on and no recording shows: who wins, and how long a wait is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use kvapi::client::Reply;
use serde_json::Value;

use crate::consul_cluster::leader_first;
use crate::harness::{Options, Server, test};

/// At a server that is alone, and at a follower of three.
fn everywhere(body: impl AsyncFn(&Server) -> anyhow::Result<()> + Copy) {
    test(async |home| body(&Server::start(home).await?).await);
    test(async |home| body(&leader_first(home).await?[1]).await);
}

async fn ask(server: &Server, method: Method, path: &str, body: &'static str) -> anyhow::Result<Reply> {
    let body = Bytes::from_static(body.as_bytes());
    Ok(server.client().send(method, path, body, HeaderMap::new()).await?)
}

async fn get(server: &Server, path: &str) -> anyhow::Result<Reply> {
    ask(server, Method::GET, path, "").await
}

async fn put(server: &Server, path: &str, body: &'static str) -> anyhow::Result<String> {
    let reply = ask(server, Method::PUT, path, body).await?;
    Ok(String::from_utf8(reply.body.to_vec())?)
}

/// How long a blocking query of a key that does not change takes.
async fn waited(server: &Server, wait: &str) -> anyhow::Result<Duration> {
    let index = server.revision("still").await?;
    let begun = Instant::now();
    let reply = get(server, &format!("/v1/kv/still?index={index}{wait}")).await?;
    anyhow::ensure!(reply.status == 200, "{wait}: {}", reply.status);
    Ok(begun.elapsed())
}

#[test]
fn of_fifty_that_create_a_key_at_the_same_time_exactly_one_does() {
    everywhere(async |server| {
        let mut all = tokio::task::JoinSet::new();
        for number in 0..50 {
            let client = server.client();
            all.spawn(async move {
                let body = Bytes::from(number.to_string());
                let reply = client
                    .send(Method::PUT, "/v1/kv/one?cas=0", body, HeaderMap::new())
                    .await?;
                anyhow::ensure!(reply.status == 200, "{}", reply.status);
                anyhow::Ok((number, &*reply.body == b"true"))
            });
        }
        let mut winners = Vec::new();
        while let Some(answer) = all.join_next().await {
            let (number, won) = answer??;
            if won {
                winners.push(number);
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let stored = get(server, "/v1/kv/one?raw").await?;
        assert_eq!(String::from_utf8_lossy(&stored.body), winners[0].to_string());
        Ok(())
    });
}

#[test]
fn a_wait_of_nought_waits_as_long_as_none() {
    everywhere(async |server| {
        server.put("still", "x").await?;
        let index = server.revision("still").await?;
        let client = server.client_within(Duration::from_secs(2));

        let path = format!("/v1/kv/still?index={index}&wait=0s");
        let answer = client.send(Method::GET, &path, Bytes::new(), HeaderMap::new()).await;

        assert!(answer.is_err(), "it was answered before anything changed");
        Ok(())
    });
}

#[test]
fn waits_are_taken_with_a_fraction_and_in_any_unit() {
    everywhere(async |server| {
        server.put("still", "x").await?;
        for wait in ["9.98s", "60000ms"] {
            // At index 1 there is news, so the form alone is tried.
            let reply = get(server, &format!("/v1/kv/still?index=1&wait={wait}")).await?;
            assert_eq!(reply.status, 200, "{wait}");
        }
        for (wait, least) in [("&wait=0.25s", 250), ("&wait=300ms", 300), ("&wait=300000us", 300)] {
            let waited = waited(server, wait).await?;
            assert!(waited >= Duration::from_millis(least), "{wait}: {waited:?}");
        }
        Ok(())
    });
}

#[test]
fn a_wait_is_no_longer_than_the_server_allows_and_one_that_is_not_told_is_the_servers() {
    test(async |home| {
        let flags = ["--max-query-time", "800ms", "--default-query-time", "400ms"];
        let options = Options {
            flags: flags.map(str::to_owned).to_vec(),
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        server.put("still", "x").await?;
        // The upper bounds are far beyond a sixteenth more, and far below what was asked for.
        for (wait, least) in [("&wait=20m", 800), ("", 400), ("&wait=0s", 400), ("&wait=100ms", 100)] {
            let waited = waited(&server, wait).await?;
            let bounds = Duration::from_millis(least)..Duration::from_secs(8);
            assert!(bounds.contains(&waited), "{wait}: {waited:?}");
        }
        Ok(())
    });
}

#[test]
fn a_transaction_without_operations_shows_nothing_and_one_without_a_body_is_refused() {
    everywhere(async |server| {
        for body in ["[]", "null", "[{}]"] {
            let reply = ask(server, Method::PUT, "/v1/txn", body).await?;
            assert_eq!(reply.status, 200, "{body}");
            let answer: Value = serde_json::from_slice(&reply.body)?;
            assert_eq!(answer["Results"], serde_json::json!([]), "{body}");
        }
        let reply = ask(server, Method::PUT, "/v1/txn", "").await?;
        assert_eq!(reply.status, 400);
        assert_eq!(&*reply.body, b"Failed to parse body: EOF");
        Ok(())
    });
}

#[test]
fn of_a_parameter_given_twice_the_first_counts_and_names_are_told_by_case() {
    everywhere(async |server| {
        assert_eq!(put(server, "/v1/kv/twice?cas=0&cas=7", "a").await?, "true");
        assert_eq!(put(server, "/v1/kv/twice?cas=0&cas=7", "b").await?, "false");
        assert_eq!(put(server, "/v1/kv/twice?CAS=0", "c").await?, "true");
        let names = get(server, "/v1/kv/tw?recurse=0&keys=0").await?;
        assert_eq!(&*names.body, br#"["twice"]"#);
        Ok(())
    });
}

#[test]
fn a_key_and_the_same_key_with_a_slash_hold_values_of_their_own() {
    everywhere(async |server| {
        assert_eq!(put(server, "/v1/kv/foo", "key").await?, "true");
        assert_eq!(put(server, "/v1/kv/foo/", "folder").await?, "true");
        assert_eq!(&*get(server, "/v1/kv/foo?raw").await?.body, b"key");
        assert_eq!(&*get(server, "/v1/kv/foo/?raw").await?.body, b"folder");
        Ok(())
    });
}

#[test]
fn keys_with_letters_of_any_language_colons_spaces_and_dots_are_stored_found_and_deleted() {
    everywhere(async |server| {
        for (path, key) in [
            ("/v1/kv/gar%C3%A7on", "garçon"),
            ("/v1/kv/a:b", "a:b"),
            ("/v1/kv/in%20side", "in side"),
            ("/v1/kv/app/settings.json", "app/settings.json"),
        ] {
            assert_eq!(put(server, path, "v").await?, "true", "{key}");
            let found: Value = serde_json::from_slice(&get(server, path).await?.body)?;
            assert_eq!(found[0]["Key"], key);
            let deleted = ask(server, Method::DELETE, path, "").await?;
            assert_eq!(&*deleted.body, b"true", "{key}");
            assert_eq!(get(server, path).await?.status, 404, "{key}");
        }
        Ok(())
    });
}
