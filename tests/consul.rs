//! What a real Consul 1.22 answered, replayed against Keyway, case by case.
//!
//! The recordings and how they are compared: tests/golden. Where Keyway differs by decision:
//! tests/golden/deviations.txt, each line with its reason in docs/consul.md.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Server, alone, test};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// Replays one case against a server of its own.
async fn replay(server: &Server, case: &'static str) -> anyhow::Result<()> {
    replay_with(server, &[&format!("{GOLDEN}/cases/{case}.jsonl")]).await
}

/// Replays all cases, one after the other.
pub(crate) async fn replay_all(server: &Server, flags: &[&str]) -> anyhow::Result<()> {
    let cases = format!("{GOLDEN}/cases");
    replay_with(server, &[flags, &[&cases]].concat()).await
}

async fn replay_with(server: &Server, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("python3");
    command
        .arg(format!("{GOLDEN}/replay.py"))
        .arg(server.address.to_string())
        .args(["--deviations", &format!("{GOLDEN}/deviations.txt")])
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// One test a case, so that a difference names its subject.
macro_rules! cases {
    ($($name:ident = $case:literal;)*) => {$(
        #[test]
        fn $name() {
            test(async |home| replay(&Server::start(home).await?, $case).await);
        }
    )*};
}

cases! {
    answers_as_consul_keys = "01-kv-basics";
    answers_as_consul_values = "02-kv-values";
    answers_as_consul_flags = "03-kv-flags";
    answers_as_consul_characters_of_keys = "04-kv-key-characters";
    answers_as_consul_keys_refused = "05-kv-key-refused";
    answers_as_consul_paths = "06-kv-paths-cleaned";
    answers_as_consul_bad_queries = "07-bad-queries";
    answers_as_consul_bad_writes = "08-bad-writes";
    answers_as_consul_methods_and_paths = "09-methods-and-paths";
    answers_as_consul_sizes = "10-sizes";
    answers_as_consul_lists = "11-lists";
    answers_as_consul_the_root = "12-root";
    answers_as_consul_cas = "13-cas";
    answers_as_consul_indexes = "14-index-rules";
    answers_as_consul_sessions = "18-session-defaults";
    answers_as_consul_options_of_sessions = "19-session-options";
    answers_as_consul_locks = "20-locks";
    answers_as_consul_plain_writes_of_locked_keys = "21-locks-plain-writes";
    answers_as_consul_verbs_of_transactions = "25-txn-verbs";
    answers_as_consul_transactions = "26-txn-atomic";
    answers_as_consul_transactions_refused = "27-txn-refused";
    answers_as_consul_status_and_agent = "28-status-and-agent";
}

/// These bound how long an answer may take, so nothing else runs meanwhile.
#[test]
fn answers_as_consul_blocking_queries() {
    for case in ["15-blocking-key", "16-blocking-missing", "17-blocking-prefix"] {
        alone(Duration::from_secs(120), async |home| {
            replay(&Server::start(home).await?, case).await
        });
    }
}

/// As above: they say when a session ends, when those who wait hear of it, and when its keys may be locked
/// again.
#[test]
fn answers_as_consul_ends_of_sessions() {
    for case in ["22-session-ends", "23-lock-delay", "24-session-ttl"] {
        alone(Duration::from_secs(120), async |home| {
            replay(&Server::start(home).await?, case).await
        });
    }
}

#[test]
fn every_deviation_is_explained() {
    let listed = include_str!("golden/deviations.txt");
    let explained = include_str!("../docs/consul.md");
    for line in listed.lines().filter(|line| !line.starts_with('#')) {
        let step = line.split_ascii_whitespace().take(2).collect::<Vec<_>>();
        assert!(
            explained.contains(&format!("`{} {}`", step[0], step[1])),
            "docs/consul.md does not name `{} {}`",
            step[0],
            step[1]
        );
    }
}
