//! `consul members`, `consul info`, `consul operator raft list-peers`: the servers of the cluster.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ask::{Server, expect};
use super::go::flags::{Flag, Parsed};
use super::go::table::columns;
use super::{Done, Stop, print, server, stale, stop};

pub(super) const MEMBERS: &[Flag] = &[
    Flag::switch("detailed", "Show the tags of every server"),
    Flag::text("status", "Show only servers of this status, such as alive"),
    Flag::switch("wan", "The servers of all datacenters, which are the same"),
];

async fn asked<T: DeserializeOwned>(
    server: &mut Server,
    path: &str,
    query: &[(&'static str, String)],
) -> Result<T, String> {
    let answer = server.call(&Method::GET, path, query, Bytes::new()).await?;
    let answer = expect(answer, &[StatusCode::OK])?;
    serde_json::from_slice(&answer.body).map_err(|e| e.to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    name: String,
    addr: String,
    port: u16,
    tags: BTreeMap<String, String>,
    status: u8,
}

impl Member {
    fn status(&self) -> &'static str {
        match self.status {
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "none",
        }
    }

    fn address(&self) -> String {
        let (addr, port) = (&self.addr, self.port);
        if addr.contains(':') {
            format!("[{addr}]:{port}")
        } else {
            format!("{addr}:{port}")
        }
    }

    fn tag(&self, name: &str) -> Option<&str> {
        self.tags
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn row(&self) -> Vec<String> {
        let kind = match self.tag("role") {
            Some("consul") => "server",
            Some("node") => "client",
            _ => "unknown",
        };
        let build = self
            .tag("build")
            .map_or("< 0.3", |build| build.split(':').next().unwrap_or_default());
        let row = [
            &self.name,
            &self.address(),
            self.status(),
            kind,
            build,
            self.tag("vsn").unwrap_or_default(),
            self.tag("dc").unwrap_or_default(),
            self.tag("ap").unwrap_or("default"),
            self.tag("segment")
                .unwrap_or(if kind == "server" { "<all>" } else { "<default>" }),
        ];
        row.map(str::to_owned).to_vec()
    }

    fn detailed(&self) -> Vec<String> {
        let tags: Vec<String> = self
            .tags
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        vec![
            self.name.clone(),
            self.address(),
            self.status().to_owned(),
            tags.join(","),
        ]
    }
}

pub(super) async fn members(parsed: &Parsed) -> Done {
    if !parsed.words.is_empty() {
        return stop(format!("Too many arguments (expected 0, got {})", parsed.words.len()));
    }
    let mut server = server(parsed)?;
    let wan = parsed.is_on("wan").then(|| ("wan", "1".to_owned()));
    let found = asked::<Vec<Member>>(&mut server, "/v1/agent/members", wan.as_slice()).await;
    let mut members = found.or_else(|why| stop(format!("Error retrieving members: {why}")))?;
    members.sort_by(|one, other| one.name.cmp(&other.name));
    if let Some(wanted) = parsed.text("status") {
        let wanted = String::from_utf8_lossy(wanted).into_owned();
        members.retain(|member| wanted.is_empty() || wanted == ".*" || member.status() == wanted);
    }
    if members.is_empty() {
        return Err(Stop::Code(2));
    }
    let (heads, rows): (&[&str], Vec<_>) = if parsed.is_on("detailed") {
        (
            &["Node", "Address", "Status", "Tags"],
            members.iter().map(Member::detailed).collect(),
        )
    } else {
        (
            &[
                "Node",
                "Address",
                "Status",
                "Type",
                "Build",
                "Protocol",
                "DC",
                "Partition",
                "Segment",
            ],
            members.iter().map(Member::row).collect(),
        )
    };
    print(columns(heads, &rows).as_bytes())
}

pub(super) async fn info(parsed: &Parsed) -> Done {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct About {
        stats: BTreeMap<String, BTreeMap<String, String>>,
    }
    let mut server = server(parsed)?;
    let found = asked::<About>(&mut server, "/v1/agent/self", &[]).await;
    let about = found.or_else(|why| stop(format!("Error querying agent: {why}")))?;
    let mut lines = Vec::new();
    for (subject, facts) in &about.stats {
        lines.push(format!("{subject}:"));
        lines.extend(facts.iter().map(|(name, value)| format!("\t{name} = {value}")));
    }
    print(lines.join("\n").as_bytes())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Peer {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    protocol_version: String,
    voter: bool,
    last_index: u64,
}

impl Peer {
    /// `leads` is how far the leader's log is.
    fn row(&self, leads: u64) -> Vec<String> {
        let behind = match (self.leader, leads.saturating_sub(self.last_index)) {
            (true, _) => "-".to_owned(),
            (false, few @ 0..=1) => format!("{few} commit"),
            (false, many) => format!("{many} commits"),
        };
        vec![
            self.node.clone(),
            self.id.clone(),
            self.address.clone(),
            if self.leader { "leader" } else { "follower" }.to_owned(),
            self.voter.to_string(),
            self.protocol_version.clone(),
            self.last_index.to_string(),
            behind,
        ]
    }
}

pub(super) async fn list_peers(parsed: &Parsed) -> Done {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Configuration {
        servers: Vec<Peer>,
    }
    let mut server = server(parsed)?;
    let stale = stale(parsed);
    let found = asked::<Configuration>(&mut server, "/v1/operator/raft/configuration", stale.as_slice()).await;
    let found = found.or_else(|why| {
        stop(format!(
            "Error getting peers: Failed to retrieve raft configuration: {why}"
        ))
    })?;
    let leads = found
        .servers
        .iter()
        .filter(|peer| peer.leader)
        .map(|peer| peer.last_index)
        .max();
    let heads = [
        "Node",
        "ID",
        "Address",
        "State",
        "Voter",
        "RaftProtocol",
        "Commit Index",
        "Trails Leader By",
    ];
    let rows: Vec<_> = found
        .servers
        .iter()
        .map(|peer| peer.row(leads.unwrap_or_default()))
        .collect();
    print(columns(&heads, &rows).as_bytes())
}
