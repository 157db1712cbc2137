//! The other end of what a test's web servers are for: who answers them, and who asks.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// Answers every request with the same text, on a port that was free, as long as the test runs.
pub(crate) async fn backend(text: &'static str) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, text));
        }
    });
    Ok(address)
}

/// [`backend`] at a socket that everybody may use.
pub(crate) fn backend_at(socket: &Path, text: &'static str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, text));
        }
    });
    Ok(())
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, text: &'static str) {
    let service = service_fn(move |_| async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) });
    // Whoever asked may go away.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// What a server says behind a connection.
pub(crate) fn ask(mut stream: impl Read + Write) -> anyhow::Result<String> {
    stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}
