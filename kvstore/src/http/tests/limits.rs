//! Answers that would be too large, and what is kept of the past when two change it at once.

use kvapi::Key;

use super::*;
use crate::command::{Action, Command, Op};

async fn act(store: &Fixture, action: Action) {
    let command = Command::from(action);
    store.doors.node.propose(command).await.unwrap();
}

fn set(key: impl AsRef<str>, value: Bytes) -> Op {
    Op::Set {
        key: Key::new(key.as_ref()).unwrap(),
        value,
        flags: 0,
    }
}

#[tokio::test]
async fn a_transaction_that_shows_too_much_is_taken_back_and_says_what_to_do() {
    let store = Fixture::new().await;
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    let ops = (0..17).map(|n| set(format!("a/{n:02}"), value.clone())).collect();
    act(&store, Action::Txn { ops }).await;

    let tree = r#"{"KV":{"Verb":"get-tree","Key":"a/"}}"#;
    let set = r#"{"KV":{"Verb":"set","Key":"b","Value":"MQ=="}}"#;
    let write = store.ask("PUT", "/v1/txn", &format!("[{set},{tree},{tree}]")).await;
    let read = store.ask("PUT", "/v1/txn", &format!("[{tree},{tree}]")).await;

    for (got, index) in [(write, 2), (read, 1)] {
        let said = format!(
            r#"{{"Results":null,"Errors":[{{"OpIndex":{index},"What":"the answer is too large: a transaction shows \
at most 32 MiB and 65536 entries; show less, or read the tree as a list: GET /v1/kv/PREFIX?recurse"}}]"#
        );
        assert_eq!(got.status, 409);
        assert!(got.text().starts_with(&said.replace("\\\n", "")), "{}", got.text());
    }
    assert_eq!(store.ask("GET", "/v1/kv/b", "").await.status, 404);
}

#[tokio::test]
async fn a_repeat_whose_answer_was_too_large_to_be_remembered_is_told_what_happened() {
    let store = Fixture::new().await;
    act(
        &store,
        Action::Txn {
            ops: vec![set("a", vec![b'x'; 2 << 20].into())],
        },
    )
    .await;
    let body = r#"[{"KV":{"Verb":"set","Key":"b","Value":"MQ=="}},{"KV":{"Verb":"get","Key":"a"}}]"#;
    let ask = || {
        let mut request = request("PUT", "/v1/txn", body);
        request.headers_mut().insert(header::REQUEST, "once".parse().unwrap());
        store.ask_with(Door::Tcp, request)
    };

    let first = ask().await;
    store.ask("DELETE", "/v1/kv/b", "").await;
    let again = ask().await;

    assert_eq!((first.status, first.header(header::REVISION)), (200, "3"));
    assert_eq!((again.status, again.header(header::REVISION)), (410, "3"));
    assert_eq!(again.header(header::OUTCOME), "done");
    assert_eq!(
        again.text(),
        "the write was carried out, once, at revision 3; its answer was too large to be remembered: read what it would \
         have shown"
    );
    assert_eq!(store.ask("GET", "/v1/kv/b", "").await.status, 404);
}

#[tokio::test]
async fn a_long_history_comes_in_answers_that_fit() {
    let store = Fixture::new().await;
    for n in 0..40_u8 {
        act(
            &store,
            Action::Txn {
                ops: vec![set("a", vec![n; 1 << 20].into())],
            },
        )
        .await;
    }
    for path in ["/v1/history/a?", "/v1/history/?recurse&"] {
        let (mut revisions, mut answers, mut before) = (Vec::new(), 0, String::new());
        loop {
            let got = store.ask("GET", &format!("{path}{before}"), "").await;
            assert!(got.body.len() < 17 << 20, "{}", got.body.len());
            let changes: Vec<kvapi::types::Change> = serde_json::from_slice(&got.body).unwrap();
            revisions.extend(changes.iter().map(|change| change.revision.0));
            answers += 1;
            if got.header(header::MORE).is_empty() {
                break;
            }
            before = format!("before={}", revisions.last().unwrap());
        }
        assert_eq!(revisions, (2..=41).rev().collect::<Vec<_>>());
        assert!(answers >= 4, "{answers}");
        for (limit, more) in [(1, "true"), (2, "")] {
            let path = format!("{path}before=4&limit={limit}");
            assert_eq!(store.ask("GET", &path, "").await.header(header::MORE), more);
        }
    }
}

#[tokio::test]
async fn of_a_change_that_no_answer_holds_the_head_is_told_and_how_many_keys_it_changed() {
    let store = Fixture::new().await;
    act(
        &store,
        Action::Txn {
            ops: vec![set("x/a", "1".into())],
        },
    )
    .await;
    let ops = (1000..2500).map(|n| set(format!("x/{n}{}", "<".repeat(8000)), Bytes::new()));
    act(&store, Action::Txn { ops: ops.collect() }).await;

    let told = async |query: &str| {
        let got = store.ask("GET", &format!("/v1/history/x/{query}"), "").await;
        assert_eq!((got.status, got.header(header::MORE)), (200, ""), "{query}");
        let changes: Vec<kvapi::types::Change> = serde_json::from_slice(&got.body).unwrap();
        let told = changes
            .iter()
            .map(|change| (change.revision.0, change.changes.len(), change.omitted));
        told.collect::<Vec<_>>()
    };

    assert_eq!(told("?recurse").await, [(3, 0, 1500), (2, 1, 0)]);
    assert_eq!(told("?recurse&heads").await, [(3, 0, 0), (2, 0, 0)]);
    assert_eq!(told("1001?recurse").await, [(3, 1, 0)]);
    assert_eq!(told("a?heads").await, [(2, 0, 0)]);
}

#[tokio::test]
async fn two_that_change_what_is_kept_at_once_both_get_their_will() {
    let store = Fixture::new().await;
    for n in 1..20 {
        let revisions = format!(r#"{{"Revisions":{n}00}}"#);
        let versions = format!(r#"{{"Versions":{n}}}"#);

        let (a, b) = tokio::join!(
            store.ask("PUT", "/v1/history", &revisions),
            store.ask("PUT", "/v1/history", &versions)
        );

        assert_eq!((a.status, b.status), (200, 200));
        let now = store.ask("GET", "/v1/history", "").await;
        let said = format!(r#""Limits":{{"Revisions":{n}00,"Versions":{n},"#);
        assert!(now.text().contains(&said), "{}", now.text());
    }
}

#[tokio::test]
async fn what_is_kept_is_changed_once_if_it_is_asked_twice() {
    let store = Fixture::new().await;
    let ask = |body| {
        let mut request = request("PUT", "/v1/history", body);
        request.headers_mut().insert(header::REQUEST, "once".parse().unwrap());
        store.ask_with(Door::Tcp, request)
    };

    let first = ask(r#"{"Versions":3}"#).await;
    store.ask("PUT", "/v1/history", r#"{"Versions":4}"#).await;
    let again = ask(r#"{"Versions":3}"#).await;
    let other = ask(r#"{"Versions":5}"#).await;

    assert!(first.text().contains(r#""Versions":3,"#), "{}", first.text());
    assert!(again.text().contains(r#""Versions":4,"#), "{}", again.text());
    assert_eq!(other.status, 422);
}

#[tokio::test]
async fn a_head_is_taken_up_to_its_limit_and_not_a_byte_beyond() {
    let store = Fixture::new().await;
    let ask = |length: usize| {
        let mut request = request("GET", "/livez", "");
        let without = "GET /livez HTTP/1.1\r\nx-long: \r\n\r\n".len();
        let value = "x".repeat(length - without).parse().unwrap();
        request.headers_mut().insert("x-long", value);
        store.ask_with(Door::Tcp, request)
    };

    assert_eq!(ask(64 << 10).await.status, 200);
    let refused = ask((64 << 10) + 1).await;
    assert_eq!(
        (refused.status, refused.header("connection"), refused.text()),
        (
            431,
            "close",
            "the head of the request is 65537 bytes long; at most 65536 are taken"
        )
    );
    let metrics = store.ask("GET", "/metrics", "").await;
    let counted = r#"keyway_http_requests_total{route="none",method="GET",code="431"} 1"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
}

#[tokio::test]
async fn what_is_watched_is_bounded_for_each_and_for_all() {
    let mut store = Fixture::new().await;
    let doors = Arc::get_mut(&mut store.doors).unwrap();
    doors.budgets.watches = budget::Budget::new(100_000);
    let watch = |keys: usize| {
        let keys: Vec<String> = (0..keys).map(|n| format!("key/{n:04}")).collect();
        request("POST", "/v1/watch", &serde_json::json!({ "Keys": keys }).to_string())
    };

    let prefixes: Vec<String> = (0..4097).map(|n| format!("prefix/{n:04}")).collect();
    let prefixes = serde_json::json!({ "Prefixes": prefixes }).to_string();
    let too_many = store.ask_with(Door::Tcp, request("POST", "/v1/watch", &prefixes)).await;
    let first = store.watch(watch(150)).await;
    let refused = store.ask_with(Door::Tcp, watch(150)).await;
    let small = store.watch(watch(20)).await;

    assert_eq!(too_many.status, 400);
    assert!(
        too_many
            .text()
            .starts_with("a watch names at most 4096 prefixes, and this one 4097;")
    );
    assert_eq!(refused.status, 429);
    assert!(refused.text().starts_with("too many keys and prefixes are watched"));
    let metrics = store.ask("GET", "/metrics", "").await;
    let counted = r#"keyway_requests_refused_total{reason="watches"} 1"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    drop((first, small));
    assert_eq!(store.doors.budgets.watches.taken(), 0);
    store.watch(watch(150)).await;
    let doors = Arc::get_mut(&mut store.doors).unwrap();
    doors.budgets.watches = budget::Budget::new(20_000 * 600);
    store.watch(watch(20_000)).await;
}
