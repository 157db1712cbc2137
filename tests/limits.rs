//! How much one write may bring, where it was raised.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};
use kvapi::client::Reply;

use crate::harness::{Exit, Options, Server, test};

async fn ask(server: &Server, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Reply> {
    Ok(server
        .client()
        .send(Method::PUT, path, body.into(), HeaderMap::new())
        .await?)
}

fn flags() -> Options {
    let flags = [
        "--max-value-size",
        "16MiB",
        "--max-txn-ops",
        "200",
        "--max-txn-size",
        "64KiB",
    ];
    Options {
        flags: flags.map(str::to_owned).to_vec(),
        ..Options::default()
    }
}

#[test]
fn values_and_transactions_may_be_larger_where_the_server_says_so_and_survive_a_restart() {
    test(async |home| {
        let mut server = Server::with(home, flags()).await?;
        let largest = vec![b'x'; 16 << 20];
        assert_eq!(&*ask(&server, "/v1/kv/large", largest.clone()).await?.body, b"true");
        let larger = ask(&server, "/v1/kv/large", vec![b'x'; (16 << 20) + 1]).await?;
        assert_eq!(larger.status, 413);
        let text = String::from_utf8_lossy(&larger.body).into_owned();
        assert!(
            text.contains("(16777217 bytes) too large, max size: 16777216 bytes"),
            "{text}"
        );

        let ops = |count: usize| format!("[{}]", vec![r#"{"KV":{"Verb":"set","Key":"t"}}"#; count].join(","));
        assert_eq!(ask(&server, "/v1/txn", ops(200)).await?.status, 200);
        let many = ask(&server, "/v1/txn", ops(201)).await?;
        assert_eq!(
            (many.status.as_u16(), &*many.body),
            (413, &b"Transaction contains too many operations (201 > 200)"[..])
        );
        let value = STANDARD.encode(vec![b'x'; 1 << 20]);
        let op = format!(r#"[{{"KV":{{"Verb":"set","Key":"large/txn","Value":"{value}"}}}}]"#);
        assert_eq!(
            ask(&server, "/v1/txn", op).await?.status,
            200,
            "a transaction is as long as a value may be"
        );

        assert_eq!(server.stop().await?, Exit::Code(0));
        server.restart_with(home, flags()).await?;

        let read = server.client().get("large", Default::default()).await?;
        assert!(read.value.is_some_and(|entry| entry.value == largest));
        Ok(())
    });
}

#[test]
fn a_limit_beyond_what_the_store_can_keep_is_refused_with_the_most_that_it_can_be() {
    test(async |home| {
        let flags = vec!["--max-value-size".to_owned(), "17MiB".to_owned()];
        let options = Options {
            flags,
            ..Options::default()
        };
        let mut program = Server::spawn(home, "refused", &options)?;

        let exit = program.exit().await?;

        assert!(!matches!(exit, Exit::Code(0)), "{exit:?}");
        let said = program.log();
        assert!(said.contains("--max-value-size") && said.contains("16777216"), "{said}");
        Ok(())
    });
}
