//! Reads of the past, its history and its limits, and lists in parts.

use super::*;

/// A store with `a/1` put twice and deleted, and `a/2` and `b` put once: revisions 2 to 6.
async fn store() -> Fixture {
    let store = Fixture::new().await;
    for (method, path, body) in [
        ("PUT", "/v1/kv/a/1", "one"),
        ("PUT", "/v1/kv/a/2", "two"),
        ("PUT", "/v1/kv/a/1", "uno"),
        ("PUT", "/v1/kv/b", "b"),
        ("DELETE", "/v1/kv/a/1", ""),
    ] {
        assert_eq!(store.ask(method, path, body).await.text(), "true");
    }
    store
}

async fn history(store: &Fixture, path: &str) -> Vec<kvapi::types::Change> {
    serde_json::from_slice(&store.ask("GET", path, "").await.body).unwrap()
}

#[tokio::test]
async fn a_revision_shows_what_was_there_then() {
    let store = store().await;
    for (path, text, status) in [
        ("/v1/kv/a/1?raw&revision=2", "one", 200),
        ("/v1/kv/a/1?raw&revision=3", "one", 200),
        ("/v1/kv/a/1?raw&revision=5", "uno", 200),
        ("/v1/kv/a/1?raw&revision=6", "", 404),
        ("/v1/kv/a/2?raw&revision=2", "", 404),
        ("/v1/kv/a/?keys&revision=2", r#"["a/1"]"#, 200),
        ("/v1/kv/a/?keys&revision=4", r#"["a/1","a/2"]"#, 200),
        ("/v1/kv/?keys&separator=/&revision=5", r#"["a/","b"]"#, 200),
        ("/v1/kv/?keys&revision=6", r#"["a/2","b"]"#, 200),
        ("/v1/kv/?keys&revision=1", "[]", 200),
        ("/v1/kv/a/?count&revision=4", r#"{"Count":2}"#, 200),
        ("/v1/kv/?count", r#"{"Count":2}"#, 200),
        ("/v1/kv/zz?count", r#"{"Count":0}"#, 200),
    ] {
        let got = store.ask("GET", path, "").await;
        assert_eq!((got.status, got.text()), (status, text), "{path}");
        if let Some((_, revision)) = path.split_once("revision=") {
            assert_eq!(got.header(header::INDEX), revision, "{path}");
            assert_eq!(got.header(header::REVISION), revision, "{path}");
        }
    }
    let ahead = store.ask("GET", "/v1/kv/b?revision=7", "").await;
    assert_eq!(
        (ahead.status, ahead.text()),
        (400, "revision 7 has not been taken yet; the newest is 6")
    );
}

#[tokio::test]
async fn what_was_compacted_says_so_in_reads_and_watches() {
    let store = store().await;

    let done = store.ask("PUT", "/v1/history", r#"{"CompactTo":5}"#).await;

    assert!(done.text().contains(r#""Revision":6,"Oldest":5"#), "{}", done.text());
    assert_eq!(store.ask("GET", "/v1/kv/a/1?raw&revision=5", "").await.text(), "uno");
    for path in [
        "/v1/kv/a/1?revision=3",
        "/v1/kv/a/?recurse&revision=4",
        "/v1/kv/?keys&revision=1",
    ] {
        let gone = store.ask("GET", path, "").await;
        assert_eq!(
            (gone.status, gone.header(header::OLDEST).is_empty()),
            (410, false),
            "{path}"
        );
        assert!(
            gone.text().contains("is no longer kept; the oldest kept is"),
            "{}",
            gone.text()
        );
    }
    let lists = store.ask("GET", "/v1/kv/?keys&revision=4", "").await;
    assert_eq!(lists.text(), "revision 4 is no longer kept; the oldest kept is 5");
    assert_eq!(lists.header(header::OLDEST), "5");
    let kept: Vec<u64> = history(&store, "/v1/history/a/1")
        .await
        .iter()
        .map(|c| c.revision.0)
        .collect();
    assert_eq!(kept, [6, 4]);
    let mut events = store.watch(request("GET", "/v1/watch?prefix=&since=3", "")).await;
    let WatchEvent::Compacted(compacted) = events.next().await else {
        panic!("a watch of what was compacted says nothing of it")
    };
    assert_eq!((compacted.since.0, compacted.oldest.0), (3, 5));
    assert_eq!(events.snapshot().await, (6, vec!["a/2".to_owned(), "b".to_owned()]));
    let mut events = store.watch(request("GET", "/v1/watch?prefix=&since=0", "")).await;
    let WatchEvent::Compacted(compacted) = events.next().await else {
        panic!("a watch from before the first change says nothing of what was compacted")
    };
    assert_eq!((compacted.since.0, compacted.oldest.0), (1, 5));
    let mut events = store.watch(request("GET", "/v1/watch?prefix=&since=5", "")).await;
    assert_eq!(events.change().await, (6, vec!["a/1".to_owned()]));
}

#[tokio::test]
async fn before_the_first_change_there_was_nothing_to_miss() {
    let store = store().await;

    for since in [0, 1] {
        let path = format!("/v1/watch?prefix=&since={since}");
        let mut events = store.watch(request("GET", &path, "")).await;
        assert_eq!(events.change().await, (2, vec!["a/1".to_owned()]), "{since}");
    }

    let foreign = store.ask("GET", "/v1/watch?key=a&dc=x", "").await;
    assert_eq!((foreign.status, foreign.text()), (500, "No path to datacenter"));
}

#[tokio::test]
async fn the_history_of_a_key_is_its_changes_newest_first() {
    let store = store().await;

    let of_key = store.ask("GET", "/v1/history/a/1", "").await;
    let changes = history(&store, "/v1/history/a/1").await;

    assert_eq!((of_key.status, of_key.header(header::OLDEST)), (200, "1"));
    assert_eq!(of_key.header(header::INDEX), "6");
    let told: Vec<_> = changes
        .iter()
        .map(|c| {
            (
                c.revision.0,
                c.changes[0].entry.as_ref().map(|entry| entry.value.to_vec()),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(6, None), (4, Some(b"uno".to_vec())), (2, Some(b"one".to_vec()))]
    );
    let revisions = async |path| {
        history(&store, path)
            .await
            .iter()
            .map(|c| c.revision.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(revisions("/v1/history/a/1?limit=2").await, [6, 4]);
    assert_eq!(revisions("/v1/history/a/1?before=6&limit=1").await, [4]);
    assert_eq!(revisions("/v1/history/a/?recurse").await, [6, 4, 3, 2]);
    assert_eq!(revisions("/v1/history/?recurse&before=4").await, [3, 2]);
}

#[tokio::test]
async fn a_revision_of_several_keys_is_one_change_of_those_asked_for() {
    let store = Fixture::new().await;
    let set = |key: &str| format!(r#"{{"KV":{{"Verb":"set","Key":"{key}","Value":"MQ=="}}}}"#);
    let ops = format!("[{},{},{},{}]", set("a/1"), set("a/2"), set("b"), set("_keyway/x"));
    store.ask("PUT", "/v1/txn", &ops).await;

    let changes = history(&store, "/v1/history/a/?recurse").await;

    let keys: Vec<_> = changes[0].changes.iter().map(|c| c.key.as_str()).collect();
    assert_eq!((changes.len(), keys), (1, vec!["a/1", "a/2"]));
    let own = store.ask("GET", "/v1/history/_keyway/x", "").await;
    assert_eq!((own.status, own.text()), (404, ""));
    let all = store.ask("GET", "/v1/history/?recurse", "").await;
    assert!(!all.text().contains("_keyway"));
}

#[tokio::test]
async fn nothing_kept_is_404_but_for_the_root() {
    let store = Fixture::new().await;
    for (path, status, text) in [
        ("/v1/history/a", 404, ""),
        ("/v1/history/a?recurse", 404, ""),
        ("/v1/history/?recurse", 200, "[]"),
        ("/v1/history/", 400, "Missing key name"),
        (
            "/v1/history/a?limit=0",
            400,
            "`limit` is \"0\"; give a whole number from 1 on",
        ),
        (
            "/v1/history/a?before=x",
            400,
            "`before` is \"x\"; give a whole number from 1 on",
        ),
        ("/v1/history/a?dc=x", 500, "No path to datacenter"),
        (
            "/v1/history/a?stale&consistent&wait=x",
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        ("/v1/history/a?index=x", 400, "Invalid index"),
    ] {
        let got = store.ask("GET", path, "").await;
        assert_eq!((got.status, got.text()), (status, text), "{path}");
    }
}

#[tokio::test]
async fn how_much_is_kept_is_shown_and_changed() {
    let store = store().await;

    let before = store.ask("GET", "/v1/history", "").await;
    let after = store.ask("PUT", "/v1/history", r#"{"Revisions":1,"Versions":1}"#).await;

    assert!(
        before.text().starts_with(r#"{"Revision":6,"Oldest":1,"Bytes":"#),
        "{}",
        before.text()
    );
    assert!(
        before
            .text()
            .ends_with(r#""Limits":{"Revisions":10000,"Versions":10,"Bytes":268435456}}"#)
    );
    assert!(
        after
            .text()
            .ends_with(r#""Limits":{"Revisions":1,"Versions":1,"Bytes":268435456}}"#)
    );
    assert!(
        after.text().starts_with(r#"{"Revision":6,"Oldest":5,"#),
        "{}",
        after.text()
    );
    for (body, reason) in [
        ("", "the body does not say what to keep"),
        ("{}", "nothing to change"),
        (r#"{"Revision":5}"#, "unknown field"),
        (r#"{"Revisions":0}"#, "`Revisions` is 0; give a whole number from 1 on"),
        (r#"{"Versions":0}"#, "`Versions` is 0; give a whole number from 1 on"),
        (r#"{"CompactTo":0}"#, "`CompactTo` is 0; give a whole number from 1 on"),
        (
            r#"{"CompactTo":7}"#,
            "`CompactTo` is 7, which has not been taken yet; the newest is 6",
        ),
        (
            r#"{"Revisions":1000001}"#,
            "`Revisions` is 1000001; it can be at most 1000000",
        ),
        (r#"{"Versions":10001}"#, "`Versions` is 10001; it can be at most 10000"),
        (
            r#"{"Bytes":17179869185}"#,
            "`Bytes` is 17179869185; it can be at most 17179869184",
        ),
        (r#"{"Bytes":-1}"#, "the body does not say what to keep"),
    ] {
        let got = store.ask("PUT", "/v1/history", body).await;
        assert_eq!(got.status, 400, "{body}: {}", got.text());
        assert!(got.text().contains(reason), "{body}: {}", got.text());
    }
}

#[tokio::test]
async fn a_list_comes_page_by_page_and_together_they_are_the_whole() {
    let store = Fixture::new().await;
    for key in ["a", "d/1", "d/2", "d/e/3", "d0", "x"] {
        store.ask("PUT", &format!("/v1/kv/{key}"), "1").await;
    }
    store.ask("PUT", "/v1/kv/_keyway/y", "1").await;
    for query in [
        "keys",
        "keys&separator=/",
        "keys&separator=/&revision=7",
        "keys&separator=d",
    ] {
        let whole: Vec<String> =
            serde_json::from_slice(&store.ask("GET", &format!("/v1/kv/?{query}"), "").await.body).unwrap();
        for limit in 1..8 {
            let mut pages: Vec<String> = Vec::new();
            loop {
                let after = pages.last().cloned().unwrap_or_default();
                let path = format!("/v1/kv/?{query}&limit={limit}&start_after={after}");
                let got = store.ask("GET", &path, "").await;
                let page: Vec<String> = serde_json::from_slice(&got.body).unwrap();
                assert!(page.len() <= limit);
                pages.extend(page);
                if got.header(header::MORE) != "true" {
                    break;
                }
            }
            assert_eq!(pages, whole, "{query} {limit}");
        }
    }
    let entries = store.ask("GET", "/v1/kv/d?recurse&limit=2&start_after=d/1", "").await;
    assert!(entries.text().contains("d/2") && entries.text().contains("d/e/3") && !entries.text().contains("d0"));
    assert_eq!(
        (entries.header(header::MORE), entries.header(header::REVISION)),
        ("true", "8")
    );
    let end = store.ask("GET", "/v1/kv/d?recurse&start_after=d0", "").await;
    assert_eq!((end.status, end.text(), end.header(header::MORE)), (200, "[]", ""));
}

#[tokio::test]
async fn parameters_of_ours_that_make_no_sense_are_refused() {
    let store = store().await;
    for (path, reason) in [
        ("/v1/kv/a?recurse&limit=0", "`limit`"),
        ("/v1/kv/a?recurse&limit=abc", "`limit`"),
        ("/v1/kv/a/1?limit=1", "`limit`"),
        ("/v1/kv/a?recurse&revision=abc", "`revision`"),
        ("/v1/kv/a?keys&start_after=b", "`start_after`"),
        ("/v1/kv/a?count&limit=1", "`count`"),
        ("/v1/kv/a/1?revision=2&index=3", "leave `index` out"),
        ("/v1/kv/a/1?revision=2&wait=3s", "leave `wait` out"),
    ] {
        let got = store.ask("GET", path, "").await;
        assert_eq!(got.status, 400, "{path}");
        assert!(got.text().contains(reason), "{path}: {}", got.text());
    }
}

#[tokio::test]
async fn the_agent_socket_shows_the_history_of_settings_and_changes_nothing_of_it() {
    let store = store().await;
    for (method, path, status) in [
        ("GET", "/v1/history/a/1", 200),
        ("GET", "/v1/history/?recurse", 200),
        ("GET", "/v1/kv/a/1?revision=2", 200),
        ("GET", "/v1/history", 200),
        ("GET", "/v1/history/_keyway/apps/web", 403),
        ("GET", "/v1/history/_keyway/?recurse", 403),
        ("GET", "/v1/kv/_keyway/apps/?count", 403),
        ("PUT", "/v1/history", 403),
    ] {
        let got = store
            .ask_with(Door::AgentSocket, request(method, path, r#"{"CompactTo":2}"#))
            .await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.text());
    }
    assert!(
        store
            .ask("GET", "/v1/history", "")
            .await
            .text()
            .contains(r#""Oldest":1"#)
    );
}
