//! Who may be a member, and who may speak.
//!
//! The roster says of each server which data folder it has, and whether it was removed: keys below
//! [`PREFIX`], written by the leader. A number belongs to one data folder for ever. A server that has lost its
//! folder has also forgotten which votes it gave, and could give them twice, so it has to come back under
//! another number.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::peer::ask::Applicant;
use crate::peer::hello::Hello;
use crate::peer::links::Me;
use crate::raft::Node;
use crate::state::State;

/// Where the roster is kept.
pub const PREFIX: &str = crate::state::SERVERS;

/// What is known of a server, as the value of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its data folder.
    pub instance: String,
    /// Whether it was removed.
    #[serde(default)]
    pub removed: bool,
}

/// The key of a server's record.
#[must_use]
pub fn key(server: u64) -> String {
    format!("{PREFIX}{server}")
}

/// What the roster says of a server.
#[must_use]
pub fn entry(state: &State, server: u64) -> Option<Record> {
    serde_json::from_slice(&state.get(&key(server))?.value).ok()
}

/// All numbers in the roster.
pub fn all(state: &State) -> impl Iterator<Item = (u64, Record)> + '_ {
    state.range(PREFIX).filter_map(|(key, entry)| {
        let server = key.as_str().strip_prefix(PREFIX)?.parse().ok()?;
        Some((server, serde_json::from_slice(&entry.value).ok()?))
    })
}

/// Why a server is not let in, or not listened to, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    OtherCluster { theirs: String, ours: String },
    Removed { server: u64 },
    OtherFolder { server: u64 },
    NotMe { asked: u64, me: u64 },
    SameAddress { server: u64, taken_by: u64, at: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster { theirs, ours } => write!(
                f,
                "it is of cluster {theirs}, and this is cluster {ours}; join the cluster that its data folder is of, or \
                 give it an empty --data-dir"
            ),
            Self::Removed { server } => write!(
                f,
                "server {server} was removed from this cluster, and a number is used once; start it with an empty \
                 --data-dir, another --node-id and --join"
            ),
            Self::OtherFolder { server } => write!(
                f,
                "server {server} has another data folder in this cluster: that one was lost or exchanged, or the number \
                 is taken; remove the old server (keyway cluster remove {server}), and join with another --node-id"
            ),
            Self::NotMe { asked, me } => write!(f, "this is server {me}, not {asked}"),
            Self::SameAddress { server, taken_by, at } => write!(
                f,
                "server {server} says that it is at {at}, where server {taken_by} is; give it a --raft-addr of its own"
            ),
        }
    }
}

/// Whether what a server says is heard.
pub(crate) fn may_speak(hello: &Hello, me: &Me, record: Option<&Record>) -> Result<(), Refusal> {
    same_cluster(&hello.cluster, &me.cluster)?;
    if hello.to != me.id {
        return Err(Refusal::NotMe {
            asked: hello.to,
            me: me.id,
        });
    }
    same_folder(hello.from, &hello.instance, record)
}

/// What is to be done for a server that wants to be a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Nothing: it is one, where it says.
    Known,
    /// It is one, elsewhere.
    Moved,
    /// It becomes one.
    New,
}

/// Whether a server may be a member.
pub fn admit(
    applicant: &Applicant,
    cluster: &str,
    members: &BTreeMap<u64, Node>,
    record: Option<&Record>,
) -> Result<Admission, Refusal> {
    same_cluster(&applicant.cluster, cluster)?;
    same_folder(applicant.id, &applicant.instance, record)?;
    let at = &applicant.node.raft_addr;
    let others = members.iter().filter(|(id, _)| **id != applicant.id);
    if let Some((taken_by, _)) = others.into_iter().find(|(_, node)| node.raft_addr == *at) {
        return Err(Refusal::SameAddress {
            server: applicant.id,
            taken_by: *taken_by,
            at: at.clone(),
        });
    }
    Ok(match members.get(&applicant.id) {
        None => Admission::New,
        Some(node) if *node == applicant.node => Admission::Known,
        Some(_) => Admission::Moved,
    })
}

fn same_cluster(theirs: &str, ours: &str) -> Result<(), Refusal> {
    if theirs == ours {
        return Ok(());
    }
    Err(Refusal::OtherCluster {
        theirs: theirs.to_owned(),
        ours: ours.to_owned(),
    })
}

fn same_folder(server: u64, instance: &str, record: Option<&Record>) -> Result<(), Refusal> {
    match record {
        Some(record) if record.removed => Err(Refusal::Removed { server }),
        Some(record) if record.instance != instance => Err(Refusal::OtherFolder { server }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(at: &str) -> Node {
        Node {
            raft_addr: at.into(),
            http_addr: String::new(),
        }
    }

    fn applicant(id: u64, instance: &str, at: &str) -> Applicant {
        Applicant {
            id,
            instance: instance.into(),
            cluster: "c".into(),
            node: node(at),
        }
    }

    fn record(instance: &str, removed: bool) -> Record {
        Record {
            instance: instance.into(),
            removed,
        }
    }

    fn members() -> BTreeMap<u64, Node> {
        BTreeMap::from([(1, node("a:1")), (2, node("b:1"))])
    }

    #[test]
    fn a_new_one_is_let_in_and_a_known_one_is_found_where_it_is() {
        let admit = |applicant: &Applicant, record: Option<Record>| admit(applicant, "c", &members(), record.as_ref());

        assert_eq!(admit(&applicant(3, "i", "c:1"), None), Ok(Admission::New));
        let own = Some(record("i", false));
        assert_eq!(admit(&applicant(2, "i", "b:1"), own.clone()), Ok(Admission::Known));
        assert_eq!(admit(&applicant(2, "i", "b:2"), own), Ok(Admission::Moved));
    }

    #[test]
    fn a_removed_one_one_without_its_folder_a_stranger_and_a_double_are_told_what_to_do() {
        let refused = |applicant: &Applicant, record: Option<&Record>| {
            admit(applicant, "c", &members(), record).unwrap_err().to_string()
        };

        let removed = refused(&applicant(2, "i", "b:1"), Some(&record("i", true)));
        assert!(
            removed.contains("was removed") && removed.contains("another --node-id"),
            "{removed}"
        );
        let wiped = refused(&applicant(2, "other", "b:1"), Some(&record("i", false)));
        assert!(wiped.contains("keyway cluster remove 2"), "{wiped}");
        let double = refused(&applicant(3, "i", "b:1"), None);
        assert!(double.contains("where server 2 is"), "{double}");
        let stranger = Applicant {
            cluster: "d".into(),
            ..applicant(3, "i", "c:1")
        };
        assert!(refused(&stranger, None).contains("it is of cluster d"));
    }

    #[test]
    fn only_who_means_this_server_is_heard() {
        let me = Me {
            cluster: "c".into(),
            id: 1,
            instance: "m".into(),
            node: node("a:1"),
            from: None,
        };
        let hello = |cluster: &str, to| Hello {
            cluster: cluster.into(),
            from: 2,
            instance: "i".into(),
            to,
            node: node("b:1"),
        };

        assert_eq!(may_speak(&hello("c", 1), &me, None), Ok(()));
        assert_eq!(
            may_speak(&hello("c", 3), &me, None),
            Err(Refusal::NotMe { asked: 3, me: 1 })
        );
        assert!(may_speak(&hello("d", 1), &me, None).is_err());
        let removed = may_speak(&hello("c", 1), &me, Some(&record("i", true)));
        assert_eq!(removed, Err(Refusal::Removed { server: 2 }));
    }
}
