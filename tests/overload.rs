//! What no client may do to the others: take all connections, all memory, or all patience.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kvapi::Address;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::harness::{Options, Server, alone, holds, long, open_files, test};

pub(crate) const MIB: u64 = 1 << 20;

fn authority(server: &Server) -> anyhow::Result<SocketAddr> {
    match &server.address {
        Address::Tcp(authority) => Ok(authority.parse()?),
        Address::Unix(path) => anyhow::bail!("{} is not a TCP address", path.display()),
    }
}

/// A connection from an address of this machine.
async fn from(client: &str, server: &Server) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(client.parse()?, 0))?;
    Ok(socket.connect(authority(server)?).await?)
}

pub(crate) async fn connect(server: &Server) -> anyhow::Result<TcpStream> {
    Ok(TcpStream::connect(authority(server)?).await?)
}

/// What the server says until it closes the connection.
async fn rest(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut text = Vec::new();
    // A connection that is reset after the answer has said what it has to.
    let read = timeout(Duration::from_secs(30), stream.read_to_end(&mut text))
        .await
        .context("the server keeps the connection")?;
    ensure!(read.is_ok() || !text.is_empty(), "{read:?}");
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Sends a request and reads a small answer.
pub(crate) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> anyhow::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut text = vec![0; 4096];
    let read = timeout(Duration::from_secs(10), stream.read(&mut text))
        .await
        .context("no answer came")??;
    Ok(String::from_utf8_lossy(&text[..read]).into_owned())
}

const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// An ordinary client gets through, and soon.
pub(crate) async fn serves(server: &Server) -> anyhow::Result<()> {
    let started = Instant::now();
    server.put("ordinary", "1").await?;
    let read = server.client().get("ordinary", Default::default()).await?;
    ensure!(read.value.is_some());
    ensure!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    Ok(())
}

#[test]
fn one_client_cannot_take_all_connections_and_who_finds_none_is_told_so() {
    test(async |home| {
        let flags = ["--max-connections", "30", "--max-connections-per-client", "12"];
        let options = Options {
            flags: flags.map(str::to_owned).to_vec(),
            ..Options::default()
        };
        let server = Server::with(home, options).await?;
        let mut open = Vec::new();
        for client in ["127.0.0.2", "127.0.0.3"] {
            for _ in 0..12 {
                let mut stream = from(client, &server).await?;
                let answer = ask(&mut stream, LIVEZ).await?;
                ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                open.push(stream);
            }
            let mut refused = from(client, &server).await?;
            refused.write_all(LIVEZ.as_bytes()).await?;
            let answer = rest(&mut refused).await?;
            assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
            assert!(
                answer.ends_with(
                    "\r\n\r\nYour IP is issuing too many concurrent connections, please rate limit your calls\n"
                ),
                "{answer}"
            );
        }
        serves(&server).await?;

        // Now everybody together.
        let refused = loop {
            let mut stream = from("127.0.0.4", &server).await?;
            let answer = ask(&mut stream, LIVEZ).await?;
            if !answer.starts_with("HTTP/1.1 200") {
                break answer;
            }
            open.push(stream);
            ensure!(open.len() <= 30, "{} connections", open.len());
        };

        assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
        assert!(refused.contains("all the connections that it takes (30)"), "{refused}");
        drop(open);
        holds("there is room again", async || serves(&server).await.is_ok()).await
    });
}

#[test]
fn ten_thousand_connections_and_slow_heads_and_bodies_are_borne_and_what_was_begun_must_end() {
    alone(Duration::from_secs(180), async |home| {
        let idle = long(2_000, 10_000);
        let slow = long(300, 1_000);
        open_files((idle + slow) as u64 + 300)?;
        let server = Server::start(home).await?;
        serves(&server).await?;
        let before = server.program.memory()?;
        let mut kept = Vec::new();
        for _ in 0..idle {
            kept.push(connect(&server).await?);
        }
        // Heads without an end, as large as they may be.
        let started = Instant::now();
        let mut heads = JoinSet::new();
        for _ in 0..slow {
            let mut stream = connect(&server).await?;
            let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", "x".repeat(60_000));
            stream.write_all(head.as_bytes()).await?;
            heads.spawn(async move {
                let answer = rest(&mut stream).await;
                (answer, stream)
            });
        }
        // Bodies that trickle.
        let mut bodies = JoinSet::new();
        for _ in 0..10 {
            let mut stream = connect(&server).await?;
            stream
                .write_all(b"PUT /v1/kv/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
                .await?;
            bodies.spawn(async move {
                let (mut read, mut write) = stream.split();
                let trickle = async {
                    while write.write_all(b"x").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                };
                let mut text = vec![0; 4096];
                let answer = tokio::select! {
                    read = read.read(&mut text) => read,
                    () = trickle => read.read(&mut text).await,
                };
                answer.map(|read| String::from_utf8_lossy(&text[..read]).into_owned())
            });
        }
        serves(&server).await?;

        let memory = server.program.memory()? - before;
        println!(
            "{idle} idle connections and {slow} heads without an end: {} MiB more",
            memory / MIB
        );
        assert!(
            memory < idle as u64 * (40 << 10) + slow as u64 * (256 << 10) + 64 * MIB,
            "{memory} bytes"
        );
        while let Some(ended) = heads.join_next().await {
            // Cut off: at most with a word.
            let (answer, _) = ended?;
            let answer = answer.unwrap_or_default();
            ensure!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let took = started.elapsed();
        assert!(
            took > Duration::from_secs(5) && took < Duration::from_secs(25),
            "{took:?}"
        );
        while let Some(answer) = bodies.join_next().await {
            let answer = answer??;
            assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
            assert!(answer.contains("the body came too slowly"), "{answer}");
        }
        // Those that have not begun anything are still there.
        for stream in kept.iter_mut().step_by(97) {
            let answer = ask(stream, LIVEZ).await?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        serves(&server).await
    });
}

#[test]
fn many_large_bodies_at_once_are_refused_beyond_what_fits_and_the_small_ones_go_on() {
    alone(Duration::from_secs(120), async |home| {
        const HALF: usize = 256 << 10;
        const BODIES: usize = 700;
        open_files(BODIES as u64 + 200)?;
        let server = Server::start(home).await?;
        serves(&server).await?;
        let before = server.program.memory()?;
        let mut uploads = JoinSet::new();
        for n in 0..BODIES {
            let mut stream = connect(&server).await?;
            let head = format!(
                "PUT /v1/kv/big/{n} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                2 * HALF
            );
            uploads.spawn(async move {
                let half = vec![b'x'; HALF];
                stream.write_all(head.as_bytes()).await?;
                // Refused in the middle, it may hear no more of it.
                let sent = stream.write_all(&half).await;
                anyhow::Ok((stream, sent.is_ok()))
            });
        }
        let mut streams = Vec::new();
        while let Some(upload) = uploads.join_next().await {
            streams.push(upload??.0);
        }
        serves(&server).await?;
        let memory = server.program.memory()?.saturating_sub(before);

        let (mut stored, mut refused) = (0, 0);
        for mut stream in streams {
            // The second half; who was refused has its answer already.
            let _ = stream.write_all(&vec![b'x'; HALF]).await;
            let mut text = vec![0; 4096];
            let read = timeout(Duration::from_secs(20), stream.read(&mut text)).await?;
            let answer = String::from_utf8_lossy(&text[..read.unwrap_or(0)]).into_owned();
            if answer.starts_with("HTTP/1.1 200") {
                stored += 1;
            } else {
                ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 429"), "{answer}");
                ensure!(
                    answer.is_empty() || answer.contains("too many large bodies"),
                    "{answer}"
                );
                refused += 1;
            }
        }
        println!(
            "{BODIES} bodies, each half there: {} MiB more; {stored} were stored, {refused} refused",
            memory / MIB
        );
        assert!(memory < 256 * MIB, "{memory} bytes");
        assert!(stored >= 128 && refused >= 100, "{stored} {refused}");
        server.put("big/again", vec![b'x'; 512 << 10]).await?;
        serves(&server).await
    });
}

#[test]
fn a_body_without_an_end_and_one_that_lies_about_its_length_are_refused_with_the_limit() {
    test(async |home| {
        let server = Server::start(home).await?;
        serves(&server).await?;
        let before = server.program.memory()?;
        let mut lies = connect(&server).await?;
        lies.write_all(b"PUT /v1/kv/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1099511627776\r\n\r\nx")
            .await?;
        let answer = rest(&mut lies).await?;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(
            answer.contains("1099511627776 bytes) too large, max size: 524288"),
            "{answer}"
        );

        for path in ["/v1/kv/a", "/v1/txn"] {
            let mut endless = connect(&server).await?;
            let (mut read, mut write) = endless.split();
            write
                .write_all(
                    format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes(),
                )
                .await?;
            let chunk = [
                format!("{:x}\r\n", 64 << 10).into_bytes(),
                vec![b'['; 64 << 10],
                b"\r\n".to_vec(),
            ]
            .concat();
            let mut sent = 0_u64;
            let send = async {
                while write.write_all(&chunk).await.is_ok() {
                    sent += chunk.len() as u64;
                }
            };
            let mut text = vec![0; 4096];
            let answer = tokio::select! {
                answer = read.read(&mut text) => answer?,
                () = send => 0,
            };
            let answer = String::from_utf8_lossy(&text[..answer]).into_owned();
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
                "{path}: {answer}"
            );
            // The limit, what is taken to be polite, and what sockets hold.
            assert!(sent < 64 * MIB, "{path}: {sent} bytes");
        }
        let memory = server.program.memory()?.saturating_sub(before);
        assert!(memory < 64 * MIB, "{memory} bytes");
        serves(&server).await
    });
}

#[test]
fn a_flood_of_headers_is_refused_and_a_flood_of_requests_is_answered_in_order() {
    test(async |home| {
        let server = Server::start(home).await?;
        let many = "X-Flood: 1\r\n".repeat(500);
        let long = |length| format!("X-Flood: {}\r\n", "x".repeat(length));
        // hyper itself looks at the length only when it has to read on.
        for headers in [many, long(70_000), long(1 << 20)] {
            let mut stream = connect(&server).await?;
            let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
            // It may be cut off before its end.
            let _ = stream.write_all(request.as_bytes()).await;
            let answer = rest(&mut stream).await?;
            assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        }

        const REQUESTS: usize = 2_000;
        for n in 0..10 {
            server.put(&format!("n/{n}"), n.to_string()).await?;
        }
        let before = server.program.memory()?;
        let requests: String = (0..REQUESTS)
            .map(|n| format!("GET /v1/kv/n/{}?raw HTTP/1.1\r\nHost: localhost\r\n\r\n", n % 10))
            .collect();
        let mut stream = connect(&server).await?;
        let (mut read, mut write) = stream.split();
        let send = async { write.write_all(requests.as_bytes()).await };
        let receive = async {
            let mut text = String::new();
            let mut bytes = vec![0; 64 << 10];
            while text.matches("HTTP/1.1 200").count() < REQUESTS || !text.ends_with('9') {
                let got = read.read(&mut bytes).await?;
                ensure!(got > 0, "the connection was closed");
                text.push_str(&String::from_utf8_lossy(&bytes[..got]));
            }
            anyhow::Ok(text)
        };
        let (sent, received) = timeout(Duration::from_secs(30), async { tokio::join!(send, receive) }).await?;
        sent?;
        let values: Vec<String> = received?
            .split("HTTP/1.1 200 OK\r\n")
            .filter_map(|answer| Some(answer.split_once("\r\n\r\n")?.1.to_owned()))
            .collect();
        let expected: Vec<String> = (0..REQUESTS).map(|n| (n % 10).to_string()).collect();
        assert!(values == expected, "{values:?}");
        assert!(server.program.memory()?.saturating_sub(before) < 32 * MIB);
        Ok(())
    });
}
