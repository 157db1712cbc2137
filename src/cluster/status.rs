//! `keyway cluster status`: which servers there are, who leads, how far each is.

use kvapi::cluster::{ClusterStatus, ServerStatus};
use kvapi::problem::exit;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Outcome;

/// What `-o json` prints.
#[derive(Serialize)]
struct Shown {
    cluster: String,
    asked: u64,
    leader: Option<u64>,
    revision: u64,
    settled: bool,
    servers: Vec<Server>,
}

#[derive(Serialize)]
struct Server {
    node_id: u64,
    /// `leader`, `follower`, or `learner`, which does not vote yet.
    role: &'static str,
    raft_addr: String,
    http_addr: String,
    last_index: Option<u64>,
}

/// Exits with 6 if nobody is known to lead.
pub(super) async fn run(context: Context<'_>) -> Outcome {
    let status = context.client.cluster_status().await?;
    let leads = status.leader.is_some();
    let shown = shown(status);
    if context.out.is_json() {
        context.out.json(&shown)?;
    } else {
        let rows: Vec<Vec<String>> = shown.servers.iter().map(row).collect();
        context.out.rows(&["NODE", "ROLE", "RAFT", "HTTP", "LOG"], &rows)?;
        if !leads {
            context.out.insist(format_args!(
                "server {} knows of no leader: a majority of the servers that vote has to be up and to reach each other",
                shown.asked
            ));
        } else if !shown.settled {
            context.out.say(format_args!(
                "the servers are being changed; until that is done, none may be lost"
            ));
        }
    }
    Ok(if leads { exit::OK } else { exit::UNAVAILABLE })
}

fn shown(status: ClusterStatus) -> Shown {
    let server = |server: ServerStatus| Server {
        node_id: server.id,
        role: match (server.leader, server.voter) {
            (true, _) => "leader",
            (false, true) => "follower",
            (false, false) => "learner",
        },
        raft_addr: server.raft_addr,
        http_addr: server.http_addr,
        last_index: server.last_index,
    };
    Shown {
        cluster: status.cluster_id,
        asked: status.node_id,
        leader: status.leader,
        revision: status.revision,
        settled: status.settled,
        servers: status.servers.into_iter().map(server).collect(),
    }
}

fn row(server: &Server) -> Vec<String> {
    let log = server
        .last_index
        .map_or_else(|| "-".to_owned(), |index| index.to_string());
    vec![
        server.node_id.to_string(),
        server.role.to_owned(),
        server.raft_addr.clone(),
        server.http_addr.clone(),
        log,
    ]
}
