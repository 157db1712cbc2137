//! Sessions and what they hold: what the recordings do not show.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::command::{Action, Command, Outcome};
use crate::state::sessions::{Behavior, Terms};

fn op(verb: &str, key: &str, session: &str) -> String {
    format!(r#"{{"KV":{{"Verb":"{verb}","Key":"{key}","Value":"MQ==","Session":"{session}"}}}}"#)
}

#[tokio::test]
async fn a_check_of_the_session_is_an_operation_like_any_other() {
    let store = Fixture::new().await;
    store.ask("PUT", "/v1/kv/a", "1").await;
    let txn = async |ops: &[String]| store.ask("PUT", "/v1/txn", &format!("[{}]", ops.join(","))).await;

    let held_by_none = txn(&[op("check-session", "a", ""), op("set", "b", "")]).await;

    assert_eq!(held_by_none.status, 200, "{}", held_by_none.text());
    let results: serde_json::Value = serde_json::from_slice(&held_by_none.body).unwrap();
    assert_eq!(results["Results"][0]["KV"]["Key"], "a");
    assert_eq!(results["Results"][0]["KV"]["Value"], serde_json::Value::Null);
    // What fails beside it is told too, whichever comes first.
    let all = txn(&[
        op("check-session", "none", ""),
        op("check-not-exists", "a", ""),
        op("check-session", "a", "s"),
        op("set", "c", ""),
    ])
    .await;
    assert_eq!(all.status, 409);
    assert_eq!(
        all.text(),
        concat!(
            r#"{"Results":null,"Errors":["#,
            r#"{"OpIndex":0,"What":"failed to check session, key \"none\" doesn't exist"},"#,
            r#"{"OpIndex":1,"What":"key \"a\" exists"},"#,
            r#"{"OpIndex":2,"What":"failed session check for key \"a\", current session \"\" != \"s\""}]}"#
        )
    );
    assert_eq!(store.ask("GET", "/v1/kv/c", "").await.status, 404);
    // By itself it is a read.
    let read = txn(&[op("check-session", "a", "")]).await;
    assert_eq!((read.status, read.header(header::KNOWN_LEADER)), (200, "true"));
}

impl Fixture {
    async fn session(&self, body: &str) -> String {
        let created = self.ask("PUT", "/v1/session/create", body).await;
        assert_eq!(created.status, 200, "{}", created.text());
        let created: serde_json::Value = serde_json::from_slice(&created.body).unwrap();
        created["ID"].as_str().unwrap().to_owned()
    }

    async fn told(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let got = self.ask(method, path, body).await;
        (got.status, got.text().to_owned())
    }

    /// A session shorter than any client may ask for.
    async fn short_session(&self, id: &str, ttl_ms: u64, behavior: Behavior) {
        let terms = Terms {
            name: "web".into(),
            node: "keyway-1".into(),
            lock_delay: 0,
            behavior,
            ttl: format!("{ttl_ms}ms").into(),
            ttl_ms,
            node_checks: vec![],
        };
        let command = Command::from(Action::CreateSession { id: id.into(), terms });
        let reply = self.doors.node.propose(command).await.unwrap();
        assert_eq!(reply.outcome, Outcome::Session(id.into()));
    }

    /// Waits until the sessions have changed since an index; the list, and its index.
    async fn sessions_after(&self, index: &str) -> (String, String) {
        let got = self
            .ask("GET", &format!("/v1/session/list?index={index}&wait=60s"), "")
            .await;
        (got.text().to_owned(), got.header(header::INDEX).to_owned())
    }

    async fn index_of_sessions(&self) -> String {
        self.ask("GET", "/v1/session/list", "")
            .await
            .header(header::INDEX)
            .to_owned()
    }
}

#[tokio::test]
async fn who_waits_for_sessions_hears_of_each_that_begins_or_ends_and_of_nothing_else() {
    let store = Fixture::new().await;
    assert_eq!(store.index_of_sessions().await, "1");
    let (listed, id) = tokio::join!(store.sessions_after("1"), store.session(r#"{"Name":"a"}"#));
    assert!(listed.0.contains(&id), "{}", listed.0);

    // A renewal, a write and a lock are no news of sessions.
    let info = format!("/v1/session/info/{id}?index={}&wait=200ms", listed.1);
    let quiet = async {
        store.ask("PUT", &format!("/v1/session/renew/{id}"), "").await;
        store.ask("PUT", &format!("/v1/kv/k?acquire={id}"), "1").await;
    };
    let (same, ()) = tokio::join!(store.ask("GET", &info, ""), quiet);
    assert_eq!(same.header(header::INDEX), listed.1);

    let info = format!("/v1/session/info/{id}?index={}&wait=60s", listed.1);
    let destroy = format!("/v1/session/destroy/{}", id.to_uppercase());
    let (gone, destroyed) = tokio::join!(store.ask("GET", &info, ""), store.ask("PUT", &destroy, ""));
    assert_eq!((gone.text(), destroyed.text()), ("[]", "true"));
    assert_eq!(gone.header(header::INDEX), destroyed.header(header::REVISION));
}

#[tokio::test]
async fn an_end_is_one_change_of_all_its_keys_that_watches_and_the_history_tell() {
    let store = Fixture::new().await;
    let id = store.session(r#"{"Name":"web","LockDelay":0}"#).await;
    for key in ["a/1", "a/2"] {
        assert_eq!(
            store.told("PUT", &format!("/v1/kv/{key}?acquire={id}"), "x").await.1,
            "true"
        );
    }
    let mut watch = store.watch(request("GET", "/v1/watch?prefix=a/", "")).await;
    watch.snapshot().await;

    let destroyed = store.ask("PUT", &format!("/v1/session/destroy/{id}"), "").await;

    let (revision, keys) = watch.change().await;
    assert_eq!(keys, ["a/1", "a/2"]);
    assert_eq!(revision.to_string(), destroyed.header(header::REVISION));
    let history = store.ask("GET", "/v1/history/a/1?limit=1", "").await;
    let history: serde_json::Value = serde_json::from_slice(&history.body).unwrap();
    assert_eq!(history[0]["Message"], format!("session {id} (web) destroyed"));
    assert_eq!(history[0]["Revision"], revision);
}

#[tokio::test]
async fn a_session_that_is_not_renewed_ends_after_twice_its_ttl_and_a_renewed_one_stays() {
    let store = Fixture::new().await;
    store.short_session("kept", 60_000, Behavior::Release).await;
    let begun = clock::now();
    store.short_session("lost", 1_000, Behavior::Delete).await;
    for (key, id) in [("kept", "kept"), ("one", "lost"), ("two", "lost")] {
        assert_eq!(
            store.told("PUT", &format!("/v1/kv/{key}?acquire={id}"), "x").await.1,
            "true"
        );
    }
    assert_eq!(store.told("PUT", "/v1/session/renew/lost", "").await.0, 200);

    let (left, _) = store.sessions_after(&store.index_of_sessions().await).await;

    assert!(begun.elapsed() >= Duration::from_millis(2_000), "{:?}", begun.elapsed());
    assert!(left.contains("kept") && !left.contains("lost"), "{left}");
    assert_eq!(store.told("GET", "/v1/kv/?keys", "").await.1, r#"["kept"]"#);
    let late = store.told("PUT", "/v1/session/renew/lost", "").await;
    assert_eq!(late, (404, "Session id 'lost' not found".to_owned()));
    let history = store.ask("GET", "/v1/history/one?limit=1", "").await;
    assert!(
        history.text().contains("session lost (web) expired"),
        "{}",
        history.text()
    );
}

#[tokio::test]
async fn a_start_gives_every_session_its_full_time_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        raft_addr: "127.0.0.1:0".into(),
        ..Config::new(dir.path().join("data"))
    };
    let store = |node| Fixture {
        doors: Arc::new(Doors {
            node,
            allowed_hosts: Vec::new(),
            places: Places::new(1024, None),
            budgets: Budgets::default(),
        }),
        _dir: tempfile::tempdir().unwrap(),
    };
    let first = store(Node::open(&config).await.unwrap());
    first.short_session("s", 1_500, Behavior::Release).await;
    assert_eq!(first.told("PUT", "/v1/kv/k?acquire=s", "x").await.1, "true");
    let digest = first.doors.node.view().digest();
    first.doors.node.close().await.unwrap();
    drop(first);

    let begun = clock::now();
    let second = store(Node::open(&config).await.unwrap());
    let index = second.index_of_sessions().await;
    let there = second.told("GET", "/v1/session/info/s", "").await.1;
    assert!(there.contains(r#""TTL":"1500ms""#), "{there}");
    assert_eq!(second.doors.node.view().digest(), digest);

    let (left, _) = second.sessions_after(&index).await;

    assert!(begun.elapsed() >= Duration::from_millis(3_000), "{:?}", begun.elapsed());
    assert_eq!(left, "[]");
    let free = second.told("GET", "/v1/kv/k", "").await.1;
    assert!(!free.contains("Session"), "{free}");
    second.doors.node.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stood_still_ends_no_session_for_it() {
    let store = Fixture::new().await;
    store.short_session("s", 500, Behavior::Release).await;
    let index = store.index_of_sessions().await;

    // This runtime has one thread: nobody gets on meanwhile.
    clock::block(Duration::from_millis(7_000));
    let begun = clock::now();

    // It was over six seconds ago, and has its full time again.
    store.sessions_after(&index).await;
    assert!(begun.elapsed() >= Duration::from_millis(1_000), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_shut_key_is_refused_to_whoever_asks_and_a_write_does_not_open_it() {
    let store = Fixture::new().await;
    let (shutting, other) = (store.session("").await, store.session("").await);
    store.ask("PUT", &format!("/v1/kv/k?acquire={shutting}"), "1").await;
    store.ask("PUT", &format!("/v1/session/destroy/{shutting}"), "").await;
    store.ask("PUT", "/v1/kv/k", "2").await;
    store.ask("DELETE", "/v1/kv/k", "").await;

    for session in [&*other, "nope", ""] {
        let told = store.told("PUT", &format!("/v1/kv/k?acquire={session}"), "3").await;
        assert_eq!(told, (200, "false".to_owned()), "{session}");
    }
    for session in ["nope", ""] {
        let told = store.told("PUT", &format!("/v1/kv/free?acquire={session}"), "3").await;
        let says = if session.is_empty() {
            "missing session"
        } else {
            r#"invalid session "nope""#
        };
        assert_eq!(told, (500, says.to_owned()));
    }
}

#[tokio::test]
async fn ids_are_found_in_capitals_and_a_key_keeps_the_spelling() {
    let store = Fixture::new().await;
    let id = store.session("").await;
    let capitals = id.to_uppercase();

    assert_eq!(
        store.told("PUT", &format!("/v1/session/renew/{capitals}"), "").await.0,
        200
    );
    assert_eq!(
        store.told("PUT", &format!("/v1/kv/k?acquire={capitals}"), "").await.1,
        "true"
    );
    assert!(store.told("GET", "/v1/kv/k", "").await.1.contains(&capitals));
    for verb in ["acquire", "release"] {
        assert_eq!(
            store.told("PUT", &format!("/v1/kv/k?{verb}={id}"), "").await.1,
            "false",
            "{verb}"
        );
    }
    assert_eq!(
        store.told("PUT", &format!("/v1/kv/k?release={capitals}"), "").await.1,
        "true"
    );
}

#[tokio::test]
async fn a_session_asked_for_twice_with_one_request_id_is_one_session() {
    let store = Fixture::new().await;
    let ask = |body: &'static str| {
        let mut create = request("PUT", "/v1/session/create", body);
        create
            .headers_mut()
            .insert(header::REQUEST, http::HeaderValue::from_static("r"));
        store.ask_with(Door::Tcp, create)
    };

    let (first, again, other) = (ask("{}").await, ask("{}").await, ask(r#"{"Name":"x"}"#).await);

    assert_eq!((first.status, first.text()), (200, again.text()));
    assert_eq!(other.status, 422);
    assert_eq!(store.doors.node.view().sessions().len(), 1);
}

#[tokio::test]
async fn the_agent_socket_has_no_sessions() {
    let store = Fixture::new().await;
    let id = store.session("").await;
    for (method, path) in [
        ("PUT", "create".to_owned()),
        ("PUT", format!("destroy/{id}")),
        ("PUT", format!("renew/{id}")),
        ("GET", format!("info/{id}")),
        ("GET", "node/keyway-1".to_owned()),
        ("GET", "list".to_owned()),
    ] {
        let asked = request(method, &format!("/v1/session/{path}"), "");
        let got = store.ask_with(Door::AgentSocket, asked).await;
        assert_eq!(got.status, 403, "{path}");
    }
    assert_eq!(store.doors.node.view().sessions().len(), 1);
}
