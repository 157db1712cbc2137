//! The past, as the client reads it: values at a revision, the history of keys, how much is kept.
//! And lists page by page, which a revision holds together.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::client::{
    At, Client, Consistency, Error, WriteOptions, consistency_query, encode_key, encode_query, kv_path, with_query,
};
use crate::transport::Reply;
use crate::types::{Change, Entry, HistoryChange, HistoryInfo, Revision, header};

/// Some entries of a list, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The revision that the page is of. Ask for the next one at this revision, and together
    /// they are the list as it was then.
    pub revision: Revision,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// What was done to a key or to a prefix, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// From this revision on everything is kept; of older changes only some.
    pub oldest: Revision,
    /// The answer's revision, as of a list.
    pub revision: Revision,
    /// The changes, newest first.
    pub changes: Vec<Change>,
    /// Whether there are older ones: an answer holds only so many.
    pub more: bool,
}

impl Client {
    /// One key, as it was at a revision; without one, as it is. [`Error::Compacted`] if that is
    /// no longer kept.
    pub async fn get_at(
        &self,
        key: &str,
        revision: Option<Revision>,
        consistency: Consistency,
    ) -> Result<At<Option<Entry>>, Error> {
        let path = kv_path(key, &[&at(revision), consistency_query(consistency)]);
        self.read_at(&path, revision).await?.entry()
    }

    /// Everything whose key begins with `prefix`, as it was at a revision; without one, as it is.
    pub async fn list_at(
        &self,
        prefix: &str,
        revision: Option<Revision>,
        consistency: Consistency,
    ) -> Result<At<Vec<Entry>>, Error> {
        let path = kv_path(prefix, &["recurse", &at(revision), consistency_query(consistency)]);
        self.read_at(&path, revision).await?.list()
    }

    /// The first `limit` entries below `prefix` behind the key `start_after`.
    pub async fn list_page(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: usize,
        revision: Option<Revision>,
    ) -> Result<Page, Error> {
        let start_after = start_after.map(|key| format!("start_after={}", encode_query(key)));
        let query = [
            "recurse",
            &format!("limit={limit}"),
            start_after.as_deref().unwrap_or(""),
            &at(revision),
        ];
        let reply = self.read_at(&kv_path(prefix, &query), revision).await?;
        let list = reply.list()?;
        Ok(Page {
            revision: reply.number(header::REVISION).unwrap_or(list.revision),
            entries: list.value,
            more: reply.header(header::MORE) == Some("true"),
        })
    }

    /// The first keys that begin with `prefix`, at most `limit`; Consul sends all of them.
    pub async fn first_keys(&self, prefix: &str, limit: usize, consistency: Consistency) -> Result<Vec<String>, Error> {
        let limit = format!("limit={limit}");
        let reply = self
            .read(&kv_path(prefix, &["keys", &limit, consistency_query(consistency)]))
            .await?;
        Ok(reply.list()?.value)
    }

    /// How many keys begin with `prefix`.
    pub async fn count(&self, prefix: &str) -> Result<u64, Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Counted {
            count: u64,
        }
        let reply = self.read(&kv_path(prefix, &["count"])).await?;
        Ok(reply.json::<Counted>()?.count)
    }

    /// What was done to a key, or with `recurse` to everything that begins with it: at most
    /// `limit` revisions, only those below `before`, newest first.
    pub async fn history(
        &self,
        key_or_prefix: &str,
        recurse: bool,
        limit: Option<usize>,
        before: Option<Revision>,
    ) -> Result<History, Error> {
        self.changes(key_or_prefix, recurse, limit, before, "").await
    }

    /// [`Client::history`] without what was changed: only which revisions, when, by whom and why. It
    /// is small however much they changed.
    pub async fn history_heads(
        &self,
        key_or_prefix: &str,
        recurse: bool,
        limit: Option<usize>,
        before: Option<Revision>,
    ) -> Result<History, Error> {
        self.changes(key_or_prefix, recurse, limit, before, "heads").await
    }

    async fn changes(
        &self,
        key_or_prefix: &str,
        recurse: bool,
        limit: Option<usize>,
        before: Option<Revision>,
        form: &str,
    ) -> Result<History, Error> {
        let query = [
            form,
            if recurse { "recurse" } else { "" },
            &limit.map(|n| format!("limit={n}")).unwrap_or_default(),
            &before.map(|r| format!("before={r}")).unwrap_or_default(),
        ];
        let path = with_query(format!("/v1/history/{}", encode_key(key_or_prefix)), &query);
        let reply = self.read(&path).await?;
        let list = reply.list()?;
        Ok(History {
            oldest: reply.number(header::OLDEST).unwrap_or_default(),
            more: reply.header(header::MORE) == Some("true"),
            revision: list.revision,
            changes: list.value,
        })
    }

    /// How much of the past is kept.
    pub async fn history_limits(&self) -> Result<HistoryInfo, Error> {
        let reply = self
            .send(Method::GET, "/v1/history", Bytes::new(), HeaderMap::new())
            .await?;
        info(&reply)
    }

    /// Changes how much is kept, or forgets the past before a revision, or both.
    pub async fn change_history(&self, change: &HistoryChange, options: &WriteOptions) -> Result<HistoryInfo, Error> {
        let body = serde_json::to_vec(change).expect("numbers have a JSON form");
        let reply = self
            .send_write(Method::PUT, "/v1/history", body.into(), options)
            .await?;
        info(&reply)
    }

    async fn read_at(&self, path: &str, revision: Option<Revision>) -> Result<Reply, Error> {
        let reply = self.send(Method::GET, path, Bytes::new(), HeaderMap::new()).await?;
        match (reply.status, revision, reply.number(header::OLDEST)) {
            (StatusCode::OK | StatusCode::NOT_FOUND, ..) => Ok(reply),
            (StatusCode::GONE, Some(asked), Some(oldest)) => Err(Error::Compacted { asked, oldest }),
            _ => Err(reply.refused()),
        }
    }
}

fn info(reply: &Reply) -> Result<HistoryInfo, Error> {
    match reply.status {
        StatusCode::OK => reply.json(),
        _ => Err(reply.refused()),
    }
}

fn at(revision: Option<Revision>) -> String {
    revision
        .map(|revision| format!("revision={revision}"))
        .unwrap_or_default()
}
