//! A file from a server, by HTTP or HTTPS.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::tls;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a server may name another place.
const REDIRECTS: usize = 5;

/// Writes what stands at an address into a file.
pub(super) async fn download(uri: &str, file: &Path) -> anyhow::Result<()> {
    let mut at: Uri = uri.parse()?;
    for _ in 0..=REDIRECTS {
        let answer = timeout(SILENCE, ask(&at)).await.context("no answer in time")??;
        let status = answer.status();
        if let Some(place) = answer.headers().get(LOCATION).filter(|_| status.is_redirection()) {
            at = next(&at, place.to_str()?)?;
            continue;
        }
        ensure!(status.is_success(), "it answered {}", status.as_u16());
        return write(answer.into_body(), file).await;
    }
    bail!("it leads from place to place")
}

/// Where a redirection leads. What was asked for by HTTPS is never had by HTTP.
fn next(from: &Uri, to: &str) -> anyhow::Result<Uri> {
    if to.starts_with('/') {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(to.parse()?);
        return Ok(Uri::from_parts(parts)?);
    }
    let is_plain = to.starts_with("http://");
    ensure!(
        is_plain || to.starts_with("https://"),
        "it leads to {to}, which is no http address"
    );
    ensure!(!is_plain || !is_secure(from), "it leads from https to {to}");
    Ok(to.parse()?)
}

fn is_secure(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

async fn ask(uri: &Uri) -> anyhow::Result<Response<Incoming>> {
    let host = uri.host().context("it names no host")?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if is_secure(uri) { 443 } else { 80 });
    let stream = kvapi::connect::dial(host, port).await?;
    if !is_secure(uri) {
        return send(stream, uri).await;
    }
    let roots = tokio::task::spawn_blocking(tls::roots).await??;
    send(tls::with_host(roots, stream, host).await?, uri).await
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    uri: &Uri,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, uri.authority().map_or("", |authority| authority.as_str()))
        .header("user-agent", "keyway")
        .body(Empty::<Bytes>::new())?;
    // The connection lives as long as its answer is read.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

async fn write(mut body: Incoming, file: &Path) -> anyhow::Result<()> {
    let mut file = tokio::fs::File::create(file).await?;
    while let Some(frame) = timeout(SILENCE, body.frame()).await.context("it fell silent")? {
        if let Ok(piece) = frame?.into_data() {
            file.write_all(&piece).await?;
        }
    }
    file.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_by_https_leads_to_https_only() {
        let (plain, secure): (Uri, Uri) = ("http://a:1/x".parse().unwrap(), "https://a:1/x".parse().unwrap());
        for (from, to, leads) in [
            (&plain, "/y", Some("http://a:1/y")),
            (&secure, "/y", Some("https://a:1/y")),
            (&plain, "https://b/y", Some("https://b/y")),
            (&plain, "http://b/y", Some("http://b/y")),
            (&secure, "https://b/y", Some("https://b/y")),
            (&secure, "http://b/y", None),
            (&plain, "file:///etc/passwd", None),
        ] {
            let next = next(from, to).ok().map(|uri| uri.to_string());
            assert_eq!(next.as_deref(), leads, "{from} leads to {to}");
        }
    }
}
