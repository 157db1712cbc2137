//! `/v1/watch`: what a stream promises.

use anyhow::Context as _;
use hyper::body::Bytes;
use kvapi::Revision;
use kvapi::client::WriteOptions;
use kvapi::types::TxnOp;

use crate::harness::{Server, Stream, keys, test};

#[test]
fn the_first_event_is_everything_at_one_revision() {
    test(async |home| {
        let server = Server::start(home).await?;
        for key in ["app/b", "app/a", "other", "one"] {
            server.put(key, key).await?;
        }

        let snapshot = Stream::get(&server, "prefix=app/&key=one&key=none", &[])
            .await?
            .snapshot()
            .await?;

        let found: Vec<&str> = snapshot.entries.iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(found, ["app/a", "app/b", "one"], "in byte order, nothing else");
        assert_eq!(
            snapshot.revision,
            server.client().get("one", Default::default()).await?.revision
        );
        Ok(())
    });
}

#[test]
fn a_transaction_is_one_event_with_what_matches() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("app/gone", "1").await?;
        let mut stream = Stream::get(&server, "prefix=app/&key=one", &[]).await?;
        let snapshot = stream.snapshot().await?;

        let ops = [
            TxnOp::set("one", "1"),
            TxnOp::set("app/x", "2"),
            TxnOp::set("stranger", "3"),
            TxnOp::new("delete", "app/gone"),
        ];
        let options = WriteOptions {
            author: Some("ann".into()),
            message: Some("größer".into()),
            ..Default::default()
        };
        assert!(server.client().txn(&ops, &options).await?.is_ok());
        server.put("app/x", "3").await?;

        let change = stream.change().await?;
        assert_eq!(keys(&change), ["app/gone", "app/x", "one"]);
        assert_eq!(change.changes[0].entry, None);
        assert!(change.revision > snapshot.revision);
        assert_eq!(
            (change.author.as_deref(), change.message.as_deref()),
            (Some("ann"), Some("größer"))
        );
        assert!(change.at > 0);
        let next = stream.change().await?;
        assert_eq!((keys(&next), next.revision), (vec!["app/x"], change.revision.next()));
        Ok(())
    });
}

#[test]
fn the_id_of_an_event_is_its_revision_and_a_reconnect_misses_nothing() {
    test(async |home| {
        let server = Server::start(home).await?;
        let mut stream = Stream::get(&server, "prefix=a", &[]).await?;
        let first = stream.raw().await?;
        assert_eq!(first.name, "snapshot");
        let seen = first.id.context("a snapshot has an id")?;
        drop(stream);
        for n in 0..5 {
            server.put("a", n.to_string()).await?;
        }
        server.put("b", "a stranger").await?;

        for mut stream in [
            Stream::get(&server, "prefix=a", &[("last-event-id", &seen)]).await?,
            Stream::get(&server, &format!("prefix=a&since={seen}"), &[]).await?,
            Stream::post(&server, &format!(r#"{{"Prefixes":["a"],"Since":{seen}}}"#)).await?,
        ] {
            for n in 0..5 {
                let change = stream.change().await?;
                let value = change.changes[0].entry.as_ref().map(|entry| entry.value.clone());
                assert_eq!(
                    value,
                    Some(Bytes::from(n.to_string())),
                    "one event a revision, in order"
                );
                assert_eq!(change.revision, Revision(seen.parse::<u64>()? + 1 + n));
            }
        }
        Ok(())
    });
}

#[test]
fn one_stream_carries_many_keys_and_prefixes() {
    test(async |home| {
        let server = Server::start(home).await?;
        let keys: Vec<String> = (0..2_000).map(|n| format!("\"key/{n}\"")).collect();
        let body = format!(r#"{{"Keys":[{}],"Prefixes":["p/","q/"]}}"#, keys.join(","));
        let mut stream = Stream::post(&server, &body).await?;
        stream.snapshot().await?;

        for key in ["key/1999", "key/2000", "q/x", "r/x", "p/"] {
            server.put(key, "1").await?;
        }

        for expected in ["key/1999", "q/x", "p/"] {
            assert_eq!(self::keys(&stream.change().await?), [expected]);
        }
        Ok(())
    });
}

#[test]
fn our_own_keys_show_only_to_those_who_ask_for_them() {
    test(async |home| {
        let server = Server::start(home).await?;
        server.put("_keyway/agents/a", "1").await?;
        let mut all = Stream::get(&server, "prefix=", &[]).await?;
        let mut own = Stream::get(&server, "prefix=_keyway/", &[]).await?;
        assert_eq!(all.snapshot().await?.entries.len(), 0);
        assert_eq!(own.snapshot().await?.entries.len(), 1);

        server.put("_keyway/agents/b", "2").await?;
        server.put("setting", "3").await?;

        assert_eq!(keys(&all.change().await?), ["setting"]);
        assert_eq!(keys(&own.change().await?), ["_keyway/agents/b"]);
        Ok(())
    });
}

#[test]
fn a_watch_for_nothing_is_refused_with_an_example() {
    test(async |home| {
        let server = Server::start(home).await?;
        for path in ["/v1/watch", "/v1/watch?since=x&key=a"] {
            let reply = server.request("GET", path, &[]).await?;
            assert_eq!(reply.status, 400, "{path}: {reply:?}");
            assert!(!reply.body.is_empty(), "{path}");
        }
        Ok(())
    });
}
