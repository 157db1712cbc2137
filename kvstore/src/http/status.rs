//! `/v1/status/`: who leads and who votes, as this server knows it. Source: Consul 1.22, as recorded in tests/golden.

use super::answer::Answer;
use super::call::Call;

/// `GET /v1/status/leader`: the leader's Raft address, `""` if nobody is known to lead.
pub(super) fn leader(call: &Call) -> Answer {
    let leader = call.node.status().leader;
    Answer::json(
        &leader.map(|(_, node)| node.raft_addr).unwrap_or_default(),
        call.pretty(),
    )
}

/// `GET /v1/status/peers`: the Raft addresses of the voting servers.
pub(super) fn peers(call: &Call) -> Answer {
    let peers: Vec<String> = call
        .node
        .status()
        .peers
        .into_iter()
        .map(|(_, node)| node.raft_addr)
        .collect();
    Answer::json(&peers, call.pretty())
}
