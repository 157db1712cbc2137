//! Who may do what by which door: the agents' socket, and web pages.

use bytes::Bytes;
use http::HeaderMap;
use kvapi::client::{Reply, WriteOptions};
use kvapi::types::{TxnOp, WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Address, Client};

use crate::harness::{Home, Options, Server, test};

/// A server with an agents' socket, and a client of that socket.
async fn with_agent_socket(home: &Home) -> anyhow::Result<(Server, Client)> {
    let socket = home.path("agents.sock");
    let flags = vec!["--agent-socket".to_owned(), socket.display().to_string()];
    let server = Server::with(
        home,
        Options {
            flags,
            ..Options::default()
        },
    )
    .await?;
    let client = Client::new(vec![Address::Unix(socket)], None, std::time::Duration::from_secs(5));
    Ok((server, client))
}

#[test]
fn a_container_reads_settings_and_services_and_writes_only_its_report() {
    test(async |home| {
        let (server, inside) = with_agent_socket(home).await?;
        server.put("app/port", "80").await?;
        server.put("_keyway/services/web/1", "{}").await?;
        server.put("_keyway/apps/web", "{}").await?;
        let none = WriteOptions::default();

        for key in ["app/port", "_keyway/services/web/1"] {
            assert!(inside.get(key, Default::default()).await?.value.is_some(), "{key}");
        }
        assert!(inside.put("_keyway/agents/me", "report", &none).await?);
        assert!(inside.delete("_keyway/agents/me", &none).await?);

        for key in [
            "app/port",
            "_keyway/services/web/1",
            "_keyway/apps/web",
            "_keyway/agents",
        ] {
            refused(inside.put(key, "mine", &none).await, key);
            refused(inside.delete(key, &none).await, key);
        }
        refused(inside.delete_prefix("", &none).await, "everything");
        refused(
            inside.get("_keyway/apps/web", Default::default()).await,
            "app definitions",
        );
        refused(inside.list("_keyway/", Default::default()).await, "all of our own keys");
        let mixed = [TxnOp::set("_keyway/agents/me", "1"), TxnOp::set("app/port", "81")];
        refused(inside.txn(&mixed, &none).await, "a transaction that goes beyond");
        assert_eq!(
            &*server
                .client()
                .get("app/port", Default::default())
                .await?
                .value
                .unwrap_or_else(|| panic!())
                .value,
            b"80"
        );
        Ok(())
    });
}

fn refused<T: std::fmt::Debug>(answer: Result<T, kvapi::Error>, what: &str) {
    match answer {
        Err(kvapi::Error::Refused { status, text }) => {
            assert_eq!(status, 403, "{what}: {text}");
            assert!(!text.is_empty(), "{what}: it says why");
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_container_watches_settings() {
    test(async |home| {
        let (server, inside) = with_agent_socket(home).await?;
        server.put("app/port", "80").await?;
        let mut watch = inside.watch(WatchRequest {
            prefixes: vec!["app/".into()],
            ..WatchRequest::default()
        });
        assert!(matches!(watch.next().await, News::Connected { .. }));
        assert!(matches!(watch.next().await, News::Event(WatchEvent::Snapshot(all)) if all.entries.len() == 1));

        let mut watch = inside.watch(WatchRequest {
            prefixes: vec!["_keyway/apps/".into()],
            ..WatchRequest::default()
        });
        assert!(matches!(watch.next().await, News::Refused { status, .. } if status == 403));
        Ok(())
    });
}

#[test]
fn a_web_page_cannot_reach_the_store() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("k", "secret").await?;
        let authority = server.address.to_string().trim_start_matches("http://").to_owned();
        let port = authority.rsplit(':').next().unwrap_or_default().to_owned();
        let localhost = format!("localhost:{port}");
        let rebound = format!("evil.example:{port}");
        let own = format!("http://{authority}");

        for headers in [
            vec![("origin", "http://evil.example")],
            vec![("origin", "null")],
            vec![("host", rebound.as_str())],
            vec![("host", "evil.example")],
        ] {
            for path in ["/v1/kv/k", "/v1/watch?key=k", "/v1/status/leader", "/livez"] {
                let reply = server.request("GET", path, &headers).await?;
                assert_eq!(reply.status, 403, "{path} {headers:?}: {reply:?}");
                assert!(!String::from_utf8_lossy(&reply.body).contains("secret"));
            }
            let reply = put(&server, &headers).await?;
            assert_eq!(reply.status, 403, "{headers:?}");
        }
        for headers in [
            vec![],
            vec![("host", localhost.as_str())],
            vec![("origin", own.as_str())],
        ] {
            let reply = server.request("GET", "/v1/kv/k", &headers).await?;
            assert_eq!(reply.status, 200, "{headers:?}: {reply:?}");
        }
        assert_eq!(
            &*server
                .client()
                .get("k", Default::default())
                .await?
                .value
                .unwrap_or_else(|| panic!())
                .value,
            b"secret"
        );
        Ok(())
    });
}

async fn put(server: &Server, headers: &[(&'static str, &str)]) -> anyhow::Result<Reply> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse()?);
    }
    map.insert("x-keyway-request", "once".parse()?);
    Ok(server
        .client()
        .send(http::Method::PUT, "/v1/kv/k", Bytes::from_static(b"changed"), map)
        .await?)
}

#[test]
fn a_write_asked_twice_with_one_id_happens_once() {
    test(async |home| {
        let server = Server::start(home).await?;
        let once = [("x-keyway-request", "the-same")];
        let first = server.request("PUT", "/v1/kv/k?cas=0", &once).await?;
        let again = server.request("PUT", "/v1/kv/k?cas=0", &once).await?;
        let other = server
            .request("PUT", "/v1/kv/k?cas=0", &[("x-keyway-request", "another")])
            .await?;

        assert_eq!(
            [&*first.body, &*again.body, &*other.body],
            [&b"true"[..], b"true", b"false"]
        );
        assert_eq!(first.header("x-keyway-revision"), again.header("x-keyway-revision"));
        let reused = server.request("PUT", "/v1/kv/other", &once).await?;
        assert_eq!(
            reused.status, 422,
            "an answer to another write is not an answer to this one"
        );
        assert_eq!(server.request("GET", "/v1/kv/other", &[]).await?.status, 404);
        Ok(())
    });
}
