//! What another scheduler is asked, because it leads.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::{Answer, Refused};

/// Marks what was forwarded: once is enough.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("x-keyway-forwarded");

/// Asks whoever leads the same, and gives what it answers, as it comes.
pub(super) async fn forward(
    leader: &str,
    method: &Method,
    path_and_query: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Answer {
    let failed = |what: &dyn std::fmt::Display| {
        Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the scheduler that leads, at {leader}, does not answer: {what}"),
        )
    };
    let stream = TcpStream::connect(leader).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e))?;
    // It lives as long as its answer is read.
    tokio::spawn(connection);
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method.clone();
    *request.uri_mut() = path_and_query.parse().map_err(|e| failed(&e))?;
    for name in [header::ACCEPT, header::CONTENT_TYPE, header::AUTHORIZATION] {
        if let Some(value) = headers.get(&name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    let host = HeaderValue::from_str(leader).map_err(|e| failed(&e))?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(FORWARDED, HeaderValue::from_static("1"));
    let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::TRANSFER_ENCODING);
    parts.headers.remove(header::CONNECTION);
    Ok(Response::from_parts(parts, Body::new(body)))
}
