//! What there is of sessions in a transaction: nobody holds a key yet.

use super::*;

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
