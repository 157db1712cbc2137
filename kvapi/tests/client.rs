//! The client against servers that misbehave: what is repeated, what is reported.

#![allow(clippy::unwrap_used)] // in a test, a panic is the message

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvapi::client::WriteOptions;
use kvapi::types::{WatchEvent, WatchRequest};
use kvapi::watch::News;
use kvapi::{Address, Client, Consistency, Error, Revision};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A server that answers its n-th request with the n-th text, the last one for ever; an empty
/// text closes the connection. The requests come out of the channel.
async fn server(answers: Vec<String>) -> (Address, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let (seen, requests) = mpsc::unbounded_channel();
    let (answers, served) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, served, seen) = (Arc::clone(&answers), Arc::clone(&served), seen.clone());
            tokio::spawn(async move {
                let mut bytes = vec![0; 65536];
                while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                    let _ = seen.send(String::from_utf8_lossy(&bytes[..n]).into_owned());
                    let turn = served.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
                    if answers[turn].is_empty() {
                        return;
                    }
                    let _ = stream.write_all(answers[turn].as_bytes()).await;
                }
            });
        }
    });
    (address, requests)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server that answers with the pieces, so long apart, and then closes the connection or is silent.
async fn trickling(pieces: &'static [&str], apart: Duration, closes: bool) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut vec![0; 65536]).await;
                for piece in pieces {
                    let _ = stream.write_all(piece.as_bytes()).await;
                    tokio::time::sleep(apart).await;
                }
                if !closes {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

fn ok(body: &str) -> String {
    reply("200 OK", "X-Consul-Index: 7\r\n", body)
}

fn client(addresses: Vec<Address>, timeout_ms: u64) -> Client {
    Client::new(addresses, None, Duration::from_millis(timeout_ms))
}

/// An address on which nobody listens.
async fn nobody() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Address::Tcp(listener.local_addr().unwrap().to_string())
}

fn request_id(request: &str) -> &str {
    request
        .lines()
        .find(|line| line.starts_with("x-keyway-request"))
        .expect("a request id")
}

#[tokio::test]
async fn the_next_address_answers_when_the_first_is_not_there() {
    let (there, _requests) = server(vec![ok("[]")]).await;
    let client = client(vec![nobody().await, there], 5_000);

    let list = client.list("a", Consistency::Default).await.unwrap();

    assert_eq!(list.revision, Revision(7));
}

#[tokio::test]
async fn with_nobody_there_nothing_was_done() {
    let client = client(vec![nobody().await], 5_000);

    let error = client.put("a", "1", &WriteOptions::default()).await.unwrap_err();

    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_repeated_with_the_same_id() {
    let (address, mut requests) = server(vec![String::new(), ok("true")]).await;

    assert!(
        client(vec![address], 5_000)
            .put("a", "1", &WriteOptions::default())
            .await
            .unwrap()
    );

    let (first, second) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    assert_eq!(request_id(&first), request_id(&second));
}

#[tokio::test]
async fn a_long_answer_may_take_longer_than_the_timeout_as_long_as_it_comes() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nConnection: close\r\n\r\n";
    let list = async |pieces, closes| {
        let address = trickling(pieces, Duration::from_millis(200), closes).await;
        client(vec![address], 1_000).list("a", Consistency::Default).await
    };

    let comes = list(&[HEAD, "[", " ", " ", " ", " ", " ", " ", " ", "]"], true).await;
    assert_eq!(comes.unwrap().revision, Revision(7));
    let stalls = list(&[HEAD, "[", " "], false).await.unwrap_err();
    assert!(matches!(stalls, Error::Timeout { .. }), "{stalls}");
    let address = trickling(&["HTTP/1.1 200 OK\r\n", "X: 1\r\n"], Duration::from_millis(200), false).await;
    let put = client(vec![address], 1_000)
        .put("a", "1", &WriteOptions::default())
        .await;
    assert!(matches!(put, Err(Error::Unknown(_))), "{put:?}");
}

#[tokio::test]
async fn a_write_whose_answer_never_comes_is_unknown() {
    let (address, _requests) = server(vec![String::new()]).await;

    let error = client(vec![address], 300)
        .put("a", "1", &WriteOptions::default())
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Unknown(_)), "{error}");
}

#[tokio::test]
async fn without_a_leader_a_write_is_tried_again_and_then_certainly_not_done() {
    let nobody_leads = reply("500 Internal Server Error", "", "No cluster leader");
    let (address, _requests) = server(vec![nobody_leads.clone(), ok("true")]).await;
    assert!(
        client(vec![address], 5_000)
            .put("a", "1", &WriteOptions::default())
            .await
            .unwrap()
    );

    let (address, _requests) = server(vec![nobody_leads]).await;
    let error = client(vec![address], 300)
        .put("a", "1", &WriteOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_of_unknown_outcome_stays_unknown() {
    let unknown = reply("500 Internal Server Error", "X-Keyway-Outcome: unknown\r\n", "lost");
    let (address, _requests) = server(vec![unknown]).await;

    let error = client(vec![address], 300)
        .delete("a", &WriteOptions::default())
        .await
        .unwrap_err();

    assert!(matches!(error, Error::Unknown(_)), "{error}");
}

#[tokio::test]
async fn what_is_no_keyway_server_is_named() {
    let (address, _requests) = server(vec![reply("200 OK", "", "<html>")]).await;

    let error = client(vec![address], 300)
        .get("a", Consistency::Default)
        .await
        .unwrap_err();

    assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_watch_resumes_behind_the_last_event_it_gave_out() {
    let stream = |events: &str| format!("HTTP/1.1 200 OK\r\nX-Keyway-Cluster: c\r\nConnection: close\r\n\r\n{events}");
    let first = stream(
        "event: snapshot\nid: 4\ndata: {\"Revision\":4,\"Entries\":[]}\n\nevent: end\ndata: {\"Reason\":\"bye\"}\n\n",
    );
    let second = stream("event: change\nid: 5\ndata: {\"Revision\":5,\"At\":0,\"Changes\":[]}\n\n");
    let (address, mut requests) = server(vec![first, second]).await;
    let mut watch = client(vec![address], 300).watch(WatchRequest {
        prefixes: vec!["a".into()],
        ..Default::default()
    });

    let mut revisions = Vec::new();
    let mut reasons = Vec::new();
    while revisions.len() < 2 {
        match watch.next().await {
            News::Event(WatchEvent::Snapshot(snapshot)) => revisions.push(snapshot.revision),
            News::Event(WatchEvent::Change(change)) => revisions.push(change.revision),
            News::Lost { reason } => reasons.push(reason),
            News::Connected { cluster, .. } => assert_eq!(cluster, "c"),
            news => panic!("{news:?}"),
        }
    }

    assert_eq!(revisions, [Revision(4), Revision(5)]);
    assert_eq!(reasons, ["bye"]);
    assert!(!requests.recv().await.unwrap().contains("\"Since\""));
    assert!(requests.recv().await.unwrap().contains("\"Since\":4"));
}
