//! The whole API, in process: requests go to the router, a real node answers.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use kvapi::sse::{Parser, SseEvent};
use kvapi::types::{MAX_VALUE_BYTES, WatchEvent, header};

use super::*;
use crate::config::Config;

/// A node on a folder of its own.
struct Fixture {
    doors: Arc<Doors>,
    _dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            raft_addr: "127.0.0.1:0".into(),
            ..Config::new(dir.path().join("data"))
        };
        let node = Node::open(&config).await.unwrap();
        Self {
            doors: Arc::new(Doors {
                node,
                allowed_hosts: Vec::new(),
                places: Places::new(1024, None),
                budgets: Budgets::default(),
            }),
            _dir: dir,
        }
    }

    async fn send(&self, door: Door, request: Request<Bytes>) -> Response<Body> {
        let request = request.map(|body| Incoming::new(Full::new(body), &self.doors.budgets.bodies));
        handle(&self.doors, door, Some(IpAddr::from([127, 0, 0, 1])), request).await
    }

    async fn ask_with(&self, door: Door, request: Request<Bytes>) -> Got {
        let (parts, body) = self.send(door, request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Got {
        self.ask_with(Door::Tcp, request(method, path, body)).await
    }

    async fn watch(&self, request: Request<Bytes>) -> Events {
        let response = self.send(Door::Tcp, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[http::header::CONTENT_TYPE], "text/event-stream");
        Events {
            body: response.into_body(),
            parser: Parser::default(),
            ready: Vec::new(),
        }
    }
}

fn request(method: &str, path: &str, body: &str) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

/// The events of a watch, one by one.
struct Events {
    body: Body,
    parser: Parser,
    ready: Vec<SseEvent>,
}

impl Events {
    async fn next(&mut self) -> WatchEvent {
        loop {
            if !self.ready.is_empty() {
                let event = self.ready.remove(0);
                return WatchEvent::parse(&event.name, &event.data).unwrap().unwrap();
            }
            let frame = self.body.frame().await.expect("the stream goes on").unwrap();
            self.ready.extend(self.parser.push(&frame.into_data().unwrap()));
        }
    }

    /// The keys of the next change.
    async fn change(&mut self) -> (u64, Vec<String>) {
        match self.next().await {
            WatchEvent::Change(change) => (
                change.revision.0,
                change.changes.into_iter().map(|change| change.key).collect(),
            ),
            other => panic!("{other:?}"),
        }
    }

    /// The keys of the next snapshot.
    async fn snapshot(&mut self) -> (u64, Vec<String>) {
        match self.next().await {
            WatchEvent::Snapshot(s) => (s.revision.0, s.entries.into_iter().map(|entry| entry.key).collect()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_put_can_be_got() {
    let store = Fixture::new().await;

    let put = store.ask("PUT", "/v1/kv/app/port?flags=7", "80").await;
    let got = store.ask("GET", "/v1/kv/app/port", "").await;

    assert_eq!(
        (put.status, put.text(), put.header(header::REVISION)),
        (200, "true", "2")
    );
    assert_eq!(put.header(header::INDEX), "");
    let entry = r#"[{"LockIndex":0,"Key":"app/port","Flags":7,"Value":"ODA=","CreateIndex":2,"ModifyIndex":2}]"#;
    assert_eq!((got.status, got.text(), got.header(header::INDEX)), (200, entry, "2"));
    assert_eq!(got.header(header::CLUSTER), store.doors.node.cluster_id());
    assert!(!got.header(header::CLUSTER).is_empty());
    assert_eq!(store.ask("GET", "/v1/kv/app/port?raw", "").await.text(), "80");
    assert_eq!(store.ask("GET", "/v1/kv/app/?keys", "").await.text(), r#"["app/port"]"#);
    assert_eq!(store.ask("DELETE", "/v1/kv/app/port", "").await.text(), "true");
    let gone = store.ask("GET", "/v1/kv/app/port", "").await;
    assert_eq!((gone.status, gone.text(), gone.header(header::INDEX)), (404, "", "3"));
}

#[tokio::test]
async fn a_write_asked_twice_happens_once() {
    let store = Fixture::new().await;
    let put = |value: &str| {
        let mut request = request("PUT", "/v1/kv/a?cas=0", value);
        request.headers_mut().insert(header::REQUEST, "r1".parse().unwrap());
        request
    };

    let first = store.ask_with(Door::Tcp, put("1")).await;
    let again = store.ask_with(Door::Tcp, put("1")).await;

    assert_eq!((first.text(), again.text()), ("true", "true"));
    assert_eq!(first.header(header::REVISION), again.header(header::REVISION));
    assert_eq!(store.ask("PUT", "/v1/kv/a?cas=0", "2").await.text(), "false");
}

#[tokio::test]
async fn author_and_message_reach_the_watchers() {
    let store = Fixture::new().await;
    let mut put = request("PUT", "/v1/kv/a", "1");
    put.headers_mut().insert(header::AUTHOR, "j%C3%BCrgen".parse().unwrap());
    put.headers_mut()
        .insert(header::MESSAGE, "more%20ports".parse().unwrap());
    let mut events = store.watch(request("GET", "/v1/watch?prefix=", "")).await;
    assert_eq!(events.snapshot().await, (1, vec![]));

    store.ask_with(Door::Tcp, put).await;

    let WatchEvent::Change(change) = events.next().await else {
        panic!()
    };
    assert_eq!(
        (change.author.as_deref(), change.message.as_deref()),
        (Some("jürgen"), Some("more ports"))
    );
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_in_consuls_words() {
    let store = Fixture::new().await;

    let large = store.ask("PUT", "/v1/kv/a", &"x".repeat(MAX_VALUE_BYTES)).await;
    let larger = store.ask("PUT", "/v1/kv/a", &"x".repeat(MAX_VALUE_BYTES + 1)).await;

    assert_eq!(large.text(), "true");
    assert_eq!((larger.status, larger.header("connection")), (413, "close"));
    assert!(
        larger
            .text()
            .starts_with("Request body(524289 bytes) too large, max size: 524288 bytes.")
    );
}

#[tokio::test]
async fn a_transaction_is_one_revision_and_one_event() {
    let store = Fixture::new().await;
    let mut events = store.watch(request("GET", "/v1/watch?key=b&prefix=a/", "")).await;
    events.snapshot().await;
    let op = |verb: &str, key: &str| format!(r#"{{"KV":{{"Verb":"{verb}","Key":"{key}","Value":"MQ=="}}}}"#);
    let body = format!("[{},{},{}]", op("set", "a/1"), op("set", "b"), op("set", "c"));

    let done = store.ask("PUT", "/v1/txn", &body).await;
    let failed = store
        .ask(
            "PUT",
            "/v1/txn",
            &format!("[{},{}]", op("set", "a/2"), op("check-not-exists", "b")),
        )
        .await;
    let read = store.ask("PUT", "/v1/txn", &format!("[{}]", op("get", "c"))).await;

    assert_eq!((done.status, done.header(header::REVISION)), (200, "2"));
    assert_eq!(events.change().await, (2, vec!["a/1".to_owned(), "b".to_owned()]));
    assert_eq!(failed.status, 409);
    assert_eq!(
        failed.text(),
        r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"key \"b\" exists"}]}"#
    );
    assert!(read.text().contains(r#""KnownLeader":true"#) && read.header(header::KNOWN_LEADER) == "true");
}

#[tokio::test]
async fn a_watch_resumes_by_address_or_by_header() {
    let store = Fixture::new().await;
    for value in ["1", "2", "3"] {
        store.ask("PUT", "/v1/kv/a", value).await;
    }

    let mut since = store.watch(request("GET", "/v1/watch?key=a&since=2", "")).await;
    let mut by_header = request("GET", "/v1/watch?key=a&since=2", "");
    by_header
        .headers_mut()
        .insert(header::LAST_EVENT_ID, "3".parse().unwrap());
    let mut by_header = store.watch(by_header).await;
    let mut ahead = store
        .watch(request("POST", "/v1/watch", r#"{"Prefixes":[""],"Since":99}"#))
        .await;

    assert_eq!((since.change().await.0, since.change().await.0), (3, 4));
    assert_eq!(by_header.change().await.0, 4);
    assert_eq!(ahead.snapshot().await, (4, vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_watch_that_makes_no_sense_is_refused_with_the_reason() {
    let store = Fixture::new().await;
    for (method, path, body, reason) in [
        ("GET", "/v1/watch", "", "nothing to watch"),
        ("GET", "/v1/watch?key=a&since=x", "", "not a revision"),
        ("GET", "/v1/watch?key=", "", "a key cannot be empty"),
        ("POST", "/v1/watch", "{", "does not say what to watch"),
        ("POST", "/v1/watch", r#"{"Key":"a"}"#, "unknown field"),
    ] {
        let got = store.ask(method, path, body).await;
        assert_eq!(got.status, 400, "{path} {body}");
        assert!(got.text().contains(reason), "{}", got.text());
    }
}

#[tokio::test]
async fn a_stop_ends_watches_and_waits_and_takes_no_more_writes() {
    let store = Fixture::new().await;
    store.ask("PUT", "/v1/kv/a", "1").await;
    let mut events = store.watch(request("GET", "/v1/watch?key=a", "")).await;
    events.snapshot().await;
    let waiting = store.ask("GET", "/v1/kv/a?index=2&wait=10m", "");
    let stop = async { store.doors.node.stopping().cancel() };

    let (waited, ()) = tokio::join!(waiting, stop);

    assert_eq!(waited.header(header::INDEX), "2");
    assert!(matches!(events.next().await, WatchEvent::End(_)));
    assert!(events.body.frame().await.is_none());
    let late = store.ask("PUT", "/v1/kv/a", "2").await;
    assert_eq!((late.status, late.text()), (500, "No cluster leader"));
    assert_eq!(store.ask("GET", "/readyz", "").await.status, 503);
    assert_eq!(store.ask("GET", "/livez", "").await.status, 200);
}

#[tokio::test]
async fn a_waiting_read_wakes_for_its_key_and_for_no_other() {
    let store = Fixture::new().await;
    store.ask("PUT", "/v1/kv/a", "1").await;
    let waiting = store.ask("GET", "/v1/kv/a?index=2&wait=10m&raw", "");
    let write = async {
        store.ask("PUT", "/v1/kv/b", "1").await;
        store.ask("PUT", "/v1/kv/a/b", "1").await;
        store.ask("PUT", "/v1/kv/a", "2").await;
    };

    let (waited, ()) = tokio::join!(waiting, write);

    assert_eq!((waited.text(), waited.header(header::INDEX)), ("2", "5"));
}

#[tokio::test]
async fn the_agent_socket_is_for_agents() {
    let store = Fixture::new().await;
    store.ask("PUT", "/v1/kv/app/port", "80").await;
    store.ask("PUT", "/v1/kv/_keyway/apps/web", "{}").await;
    let txn = |verb: &str, key: &str| format!(r#"[{{"KV":{{"Verb":"{verb}","Key":"{key}"}}}}]"#);
    for (method, path, body, status) in [
        ("GET", "/v1/kv/app/port", String::new(), 200),
        ("GET", "/v1/kv/?recurse", String::new(), 200),
        ("GET", "/v1/kv/_keyway/services/?recurse", String::new(), 404),
        ("PUT", "/v1/kv/_keyway/agents/x", String::new(), 200),
        ("PUT", "/v1/txn", txn("get", "app/port"), 200),
        ("PUT", "/v1/txn", txn("set", "_keyway/agents/x"), 200),
        ("GET", "/v1/kv/_keyway/apps/web", String::new(), 403),
        ("GET", "/v1/kv/_keyway/?recurse", String::new(), 403),
        ("PUT", "/v1/kv/app/port", String::new(), 403),
        ("DELETE", "/v1/kv/?recurse", String::new(), 403),
        ("DELETE", "/v1/kv/_keyway/?recurse", String::new(), 403),
        ("PUT", "/v1/txn", txn("set", "app/port"), 403),
        ("PUT", "/v1/txn", txn("delete-tree", ""), 403),
        ("PUT", "/v1/txn", txn("get-tree", "_keyway/"), 403),
        ("GET", "/v1/watch?prefix=_keyway/apps/", String::new(), 403),
    ] {
        let got = store.ask_with(Door::AgentSocket, request(method, path, &body)).await;
        assert_eq!(got.status, status, "{method} {path} {body}: {}", got.text());
    }
    assert_eq!(store.ask("GET", "/v1/kv/app/port?raw", "").await.text(), "80");
}

#[tokio::test]
async fn what_a_web_page_sends_is_refused_on_every_route() {
    let store = Fixture::new().await;
    for path in ["/v1/kv/a", "/v1/watch?prefix=", "/v1/nope", "/livez"] {
        for (name, value) in [("origin", "http://evil.example"), ("host", "evil.example")] {
            let mut request = request("GET", path, "");
            request.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(store.ask_with(Door::Tcp, request).await.status, 403, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn notes_and_keys_that_are_no_text_or_too_long_are_refused() {
    let store = Fixture::new().await;
    let long = format!("/v1/kv/{}", "k".repeat(kvapi::key::MAX_KEY_BYTES + 1));
    let mut noted = request("PUT", "/v1/kv/a", "");
    noted
        .headers_mut()
        .insert(header::MESSAGE, "x".repeat(5000).parse().unwrap());

    assert_eq!(store.ask("PUT", "/v1/kv/%FF", "").await.status, 400);
    assert!(store.ask("PUT", &long, "").await.text().contains("at most 8192"));
    assert_eq!(store.ask_with(Door::Tcp, noted).await.status, 400);
    assert_eq!(store.ask("GET", "/v1/kv/?keys", "").await.text(), "[]");
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_ask() {
    let store = Fixture::new().await;
    let value = "x".repeat(2000);
    store.ask("PUT", "/v1/kv/a", &value).await;
    let mut request = request("GET", "/v1/kv/a?raw", "");
    request.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());

    let got = store.ask_with(Door::Tcp, request).await;

    assert_eq!(got.header("content-encoding"), "gzip");
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*got.body), &mut unpacked).unwrap();
    assert_eq!(unpacked, value);
}

#[tokio::test]
async fn whoever_goes_away_stops_waiting() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let store = Fixture::new().await;
    let listener = Listener::bind(&kvapi::Address::Tcp("127.0.0.1:0".into()))
        .await
        .unwrap();
    let kvapi::Address::Tcp(authority) = listener.address().clone() else {
        panic!()
    };
    let server = tokio::spawn(serve(
        listener,
        Door::Tcp,
        Arc::clone(&store.doors),
        CancellationToken::new(),
    ));
    let hub = store.doors.node.hub();
    let subscribers = |count: usize| async move {
        while hub.subscribers() != count {
            tokio::task::yield_now().await;
        }
    };
    let ask = |path: &'static str| {
        let authority = authority.clone();
        async move {
            let mut client = tokio::net::TcpStream::connect(authority).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            client
        }
    };

    let waiting = ask("/v1/kv/a?index=1&wait=10m").await;
    let mut watching = ask("/v1/watch?prefix=").await;
    subscribers(2).await;
    assert!(watching.read(&mut [0; 1024]).await.unwrap() > 0);
    drop((waiting, watching));

    subscribers(0).await;
    store.doors.node.stopping().cancel();
    server.await.unwrap();
}

mod about;
mod limits;
mod past;
mod servers;
mod sessions;
