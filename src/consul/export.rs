//! `consul kv export`: everything below a prefix, as JSON.

use super::go::flags::Parsed;
use super::go::json::{self, Exported};
use super::{Done, get, key_or_prefix, print, server};
use crate::value::encode_base64;

pub(super) async fn run(parsed: &Parsed) -> Done {
    let prefix = key_or_prefix(parsed)?;
    let mut server = server(parsed)?;
    let entries = get::entries(&mut server, parsed, prefix).await?;
    let exported: Vec<Exported> = entries
        .into_iter()
        .map(|entry| Exported {
            value: encode_base64(&entry.value),
            key: entry.key,
            flags: entry.flags,
            ..Exported::default()
        })
        .collect();
    print(json::write(&exported).as_bytes())
}
