//! `meta.json` and `SHA256SUMS`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::envelope::Stamp;

/// What a backup says of itself. Consul says more, which nobody needs to read one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Meta {
    pub version: u64,
    #[serde(rename = "ID")]
    pub id: String,
    pub index: u64,
    pub term: u64,
    /// How long `state.bin` is.
    pub size: u64,
}

impl Meta {
    /// Its text in Consul's form, where the servers stand twice.
    pub(super) fn to_json(&self, stamp: &Stamp) -> Vec<u8> {
        let servers: Vec<_> = stamp
            .servers
            .iter()
            .map(|(id, address)| serde_json::json!({"Suffrage": 0, "ID": id, "Address": address}))
            .collect();
        let addresses: Vec<&str> = stamp.servers.iter().map(|(_, address)| &**address).collect();
        let peers = rmp_serde::to_vec(&addresses);
        let text = serde_json::json!({
            "Version": self.version,
            "ID": self.id,
            "Index": self.index,
            "Term": self.term,
            "Peers": STANDARD.encode(peers.unwrap_or_default()),
            "Configuration": {"Servers": servers},
            "ConfigurationIndex": 1,
            "Size": self.size,
        });
        let mut text = text.to_string().into_bytes();
        text.push(b'\n');
        text
    }
}

/// A checksum as it is written.
pub(super) fn hex(sum: Sha256) -> String {
    let mut text = String::with_capacity(64);
    for byte in sum.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `SHA256SUMS` of these files.
pub(super) fn sums(files: &[(&str, &str)]) -> String {
    files.iter().fold(String::new(), |mut text, (name, sum)| {
        let _ = writeln!(text, "{sum}  {name}");
        text
    })
}

/// Holds the lines of `SHA256SUMS` to the sums that were found, as Consul does: every file is listed, and no other.
pub(super) fn check_sums(text: &[u8], files: &[(&str, &str)]) -> Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|_| "SHA256SUMS is not a text".to_owned())?;
    let mut seen = Vec::new();
    for line in text.lines() {
        let (sum, name) = line
            .split_once(char::is_whitespace)
            .ok_or_else(|| "a line of SHA256SUMS is not a sum and a name".to_owned())?;
        let name = name.trim();
        let Some((name, found)) = files.iter().find(|(file, _)| *file == name) else {
            return Err(format!("list missing hash for \"{name}\""));
        };
        if !sum.eq_ignore_ascii_case(found) {
            return Err(format!("hash check failed for \"{name}\""));
        }
        seen.push(*name);
    }
    match files.iter().find(|(name, _)| !seen.contains(name)) {
        Some((name, _)) => Err(format!("file missing for \"{name}\"")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_have_to_be_listed_with_their_own_sums_and_no_other_may_be() {
        let files = [("meta.json", "aa"), ("state.bin", "bb")];
        assert_eq!(check_sums(sums(&files).as_bytes(), &files), Ok(()));
        assert_eq!(check_sums(b"AA  meta.json\nbb  state.bin", &files), Ok(()));
        for (text, said) in [
            ("aa  meta.json\n", "file missing for \"state.bin\""),
            ("aa  meta.json\ncc  state.bin\n", "hash check failed for \"state.bin\""),
            (
                "aa  meta.json\nbb  state.bin\ncc  more\n",
                "list missing hash for \"more\"",
            ),
            ("aa\n", "a line of SHA256SUMS is not a sum and a name"),
        ] {
            assert_eq!(check_sums(text.as_bytes(), &files), Err(said.to_owned()), "{text}");
        }
    }
}
