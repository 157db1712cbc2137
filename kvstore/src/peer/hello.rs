//! Who speaks to whom: one header with every request between servers.
//!
//! It names the cluster, both servers, the data folder of the one that speaks and where it is reached. So a
//! server of another cluster, one that stands at an address of another, and one that has lost its
//! folder are told apart before anything is done; and a server that has moved is found.

use std::fmt;

use crate::raft::Node;

/// The header's name.
pub const HEADER: &str = "keyway-peer";

/// The version of what follows that this server speaks.
const VERSION: &str = "1";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub cluster: String,
    pub from: u64,
    /// The data folder of who speaks.
    pub instance: String,
    pub to: u64,
    /// Where who speaks is reached.
    pub node: Node,
}

impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            from,
            instance,
            to,
            node,
        } = self;
        let Node { raft_addr, http_addr } = node;
        write!(f, "{VERSION};{cluster};{from};{instance};{to};{raft_addr};{http_addr}")
    }
}

impl Hello {
    /// Reads what [`fmt::Display`] has written.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The last part is a path, perhaps, and may hold anything.
        let parts: Vec<&str> = text.splitn(7, ';').collect();
        let [version, cluster, from, instance, to, raft_addr, http_addr] = parts[..] else {
            return Err(format!("`{text}` does not say who asks"));
        };
        if version != VERSION {
            return Err(format!(
                "the peer speaks version {version}, and this server {VERSION}; run the same version of keyway on both"
            ));
        }
        let number = |text: &str| {
            text.parse()
                .map_err(|_| format!("`{text}` is not the number of a server"))
        };
        Ok(Self {
            cluster: cluster.to_owned(),
            from: number(from)?,
            instance: instance.to_owned(),
            to: number(to)?,
            node: Node {
                raft_addr: raft_addr.to_owned(),
                http_addr: http_addr.to_owned(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_as_it_was_whatever_the_path_of_a_socket() {
        let hello = Hello {
            cluster: "c".into(),
            from: 1,
            instance: "i".into(),
            to: 3,
            node: Node {
                raft_addr: "[::1]:8300".into(),
                http_addr: "unix:///run/a;b.sock".into(),
            },
        };

        assert_eq!(Hello::parse(&hello.to_string()), Ok(hello));
    }

    #[test]
    fn another_version_is_told_what_to_do_and_nonsense_is_refused() {
        let newer = Hello::parse("2;c;1;i;3;a;b").unwrap_err();
        assert!(newer.contains("version 2") && newer.contains("same version"), "{newer}");
        for text in ["", "1;c;1", "1;c;x;i;3;a;b"] {
            assert!(Hello::parse(text).is_err(), "{text}");
        }
    }
}
