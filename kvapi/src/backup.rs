//! Backups: the whole state of a cluster, as it comes, however much it is.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use tokio::fs::File;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::timeout;
use tower_service::Service as _;

use crate::address::Address;
use crate::client::{Client, Consistency, WriteOptions, consistency_query, with_query, write_headers};
use crate::connect;
use crate::error::Error;
use crate::types::{Revision, header};

/// The longest refusal that is shown, in bytes.
const REFUSAL: usize = 64 << 10;

/// How long a piece may take at least: before the first one the server goes through all that it has.
const PREPARING: Duration = Duration::from_secs(60);

/// How long a restore may take: all of it goes through the log.
const RESTORE: Duration = Duration::from_secs(1800);

/// What is read of a file at a time.
const PIECE: usize = 64 << 10;

/// A backup that is on its way.
#[derive(Debug)]
pub struct Backup {
    body: Incoming,
    address: Address,
    /// How long the next piece may keep us waiting.
    limit: Duration,
    /// What it is of.
    pub revision: Revision,
}

impl Backup {
    /// The next piece; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let broke_off = |what: &dyn std::fmt::Display| Error::Unavailable {
            addresses: vec![self.address.clone()],
            reason: format!("{}: the snapshot broke off: {what}", self.address),
        };
        loop {
            let frame = timeout(self.limit, self.body.frame())
                .await
                .map_err(|_| Error::Timeout {
                    addresses: vec![self.address.clone()],
                    after: self.limit,
                    last: None,
                })?;
            match frame {
                None => return Ok(None),
                Some(Err(e)) => return Err(broke_off(&e)),
                // Trailers say nothing to us.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl Client {
    /// Begins to take a backup, from the first address that has one to give.
    pub async fn backup(&self, consistency: Consistency) -> Result<Backup, Error> {
        let transport = self.transport();
        let path = with_query("/v1/snapshot".to_owned(), &[consistency_query(consistency)]);
        let limit = transport.timeout;
        let (nothing, headers) = (Bytes::new(), HeaderMap::new());
        let mut last = None;
        for address in self.addresses() {
            let opened = transport.open(address, &Method::GET, &path, &nothing, &headers);
            let response = match timeout(limit, opened).await {
                Ok(Ok(response)) => response,
                Ok(Err(failure)) => {
                    last = Some(format!("{address}: {}", failure.reason));
                    continue;
                }
                Err(_) => {
                    last = Some(format!(
                        "{address}: no answer within {}",
                        crate::duration::format(limit)
                    ));
                    continue;
                }
            };
            let status = response.status();
            let revision = response.headers().get(header::INDEX);
            let revision = revision.and_then(|text| text.to_str().ok()?.parse().ok()).map(Revision);
            match (status, revision) {
                (StatusCode::OK, Some(revision)) => {
                    return Ok(Backup {
                        body: response.into_body(),
                        address: address.clone(),
                        limit: limit.max(PREPARING),
                        revision,
                    });
                }
                (StatusCode::OK, None) => {
                    return Err(Error::BadAnswer {
                        address: address.clone(),
                        reason: "it has no X-Consul-Index".into(),
                    });
                }
                _ => {}
            }
            let text = said(limit, response.into_body()).await;
            if status != StatusCode::INTERNAL_SERVER_ERROR {
                return Err(Error::Refused { status, text });
            }
            // Another server may know of a leader.
            last = Some(format!("{address}: the server answered {status}: {text}"));
        }
        Err(Error::Unavailable {
            addresses: self.addresses().to_vec(),
            reason: last.unwrap_or_default(),
        })
    }
}

impl Client {
    /// Puts the backup in a file in the place of what the cluster holds. Returns the revision that it took.
    ///
    /// It is sent to the first address that takes the call, and once: how it ended is not known if no answer comes.
    pub async fn restore(&self, file: &Path, options: &WriteOptions) -> Result<Option<Revision>, Error> {
        let mut last = None;
        for address in self.addresses() {
            let failed = |why: &dyn std::fmt::Display| format!("{address}: {why}");
            let sender = match self.call(address).await {
                Ok(sender) => sender,
                Err(why) => {
                    last = Some(failed(&why));
                    continue;
                }
            };
            let unsent = |why: &dyn std::fmt::Display| Error::Unavailable {
                addresses: vec![address.clone()],
                reason: failed(why),
            };
            let body = Upload::of(file)
                .await
                .map_err(|e| unsent(&format_args!("read the file: {e}")))?;
            let request = self.restoring(address, body, options).map_err(|e| unsent(&e))?;
            return self.restored(sender, request, address).await;
        }
        Err(Error::Unavailable {
            addresses: self.addresses().to_vec(),
            reason: last.unwrap_or_default(),
        })
    }

    /// A connection of its own: what is sent is too long to be kept for a second try.
    async fn call(&self, address: &Address) -> Result<SendRequest<Upload>, String> {
        let uri = connect::uri(address, "/").map_err(|e| e.to_string())?;
        let mut connector = self.transport().connector();
        let opened = timeout(self.transport().timeout, connector.call(uri)).await;
        let stream = opened
            .map_err(|_| "no connection".to_owned())?
            .map_err(|e| e.to_string())?;
        let (sender, connection) = handshake(stream).await.map_err(|e| e.to_string())?;
        // It ends with the sender; what it failed with, the sender's request fails with too.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn restoring(
        &self,
        address: &Address,
        body: Upload,
        options: &WriteOptions,
    ) -> Result<Request<Upload>, http::Error> {
        let host = match address {
            Address::Tcp(authority) => authority.as_str(),
            Address::Unix(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(Method::PUT)
            .uri("/v1/snapshot")
            .header(http::header::HOST, host)
            .header(http::header::CONTENT_TYPE, "application/octet-stream");
        if let Some(token) = self.transport().token() {
            request = request.header(header::TOKEN, token);
        }
        let mut request = request.body(body)?;
        request.headers_mut().extend(write_headers(options));
        Ok(request)
    }

    async fn restored(
        &self,
        mut sender: SendRequest<Upload>,
        request: Request<Upload>,
        address: &Address,
    ) -> Result<Option<Revision>, Error> {
        let response = match timeout(RESTORE, sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(e)) => return Err(Error::Unknown(format!("{address}: the connection broke off: {e}"))),
            Err(_) => {
                let limit = crate::duration::format(RESTORE);
                return Err(Error::Unknown(format!("no answer from {address} within {limit}")));
            }
        };
        let status = response.status();
        let of = |name: &str| response.headers().get(name).and_then(|text| text.to_str().ok());
        let revision = of(header::REVISION).and_then(|text| text.parse().ok()).map(Revision);
        let unknown = of(header::OUTCOME) == Some("unknown");
        if status == StatusCode::OK {
            return Ok(revision);
        }
        let text = said(self.transport().timeout, response.into_body()).await;
        if unknown {
            return Err(Error::Unknown(text));
        }
        Err(Error::Refused { status, text })
    }
}

/// A file that is being sent.
struct Upload {
    file: File,
    left: u64,
}

impl Upload {
    async fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path).await?;
        let left = file.metadata().await?.len();
        Ok(Self { file, left })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(this.left).unwrap_or(usize::MAX).min(PIECE);
        let mut buffer = vec![0; most];
        let mut read = ReadBuf::new(&mut buffer);
        match Pin::new(&mut this.file).poll_read(cx, &mut read) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(e)) => return Poll::Ready(Some(Err(e))),
            Poll::Ready(Ok(())) => {}
        }
        let filled = read.filled().len();
        if filled == 0 {
            let shorter = io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter");
            return Poll::Ready(Some(Err(shorter)));
        }
        buffer.truncate(filled);
        this.left -= filled as u64;
        Poll::Ready(Some(Ok(Frame::data(buffer.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The text of a refusal, as far as it comes.
async fn said(limit: Duration, body: Incoming) -> String {
    match timeout(limit, Limited::new(body, REFUSAL).collect()).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        _ => String::new(),
    }
}
