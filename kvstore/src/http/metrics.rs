//! `GET /metrics`: the server in numbers, in Prometheus' text format. Each is named and explained
//! in docs/metrics.md, which a test compares with the answer.

use std::fmt::{Display, Write as _};
use std::path::Path;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use super::Doors;
use super::answer::Answer;
use super::call::Call;
use crate::disk;

/// Prometheus' text format.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The text: families of samples.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("a String takes all text");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.one(name, "gauge", help, value);
    }
}

/// See the module.
pub(super) fn get(call: &Call, doors: &Doors) -> Answer {
    let mut text = Text::default();
    let version = env!("CARGO_PKG_VERSION");
    text.family("keyway_build_info", "gauge", "The version that runs; always 1.");
    text.line(format_args!("keyway_build_info{{version=\"{version}\"}} 1"));
    requests(&mut text, call);
    connections(&mut text, doors);
    store(&mut text, call);
    process(&mut text, call);
    Answer::text(StatusCode::OK, text.0).with(CONTENT_TYPE, FORMAT)
}

fn requests(text: &mut Text, call: &Call) {
    let traffic = call.node.traffic();
    let name = "keyway_http_requests_total";
    text.family(name, "counter", "Requests answered, by route, method and status.");
    for (route, method, code, count) in traffic.requests() {
        text.line(format_args!(
            "{name}{{route=\"{route}\",method=\"{method}\",code=\"{code}\"}} {count}"
        ));
    }
    let name = "keyway_http_request_duration_seconds";
    let help = "Time until an answer was ready, without watches and blocking queries.";
    text.family(name, "histogram", help);
    for histogram in traffic.durations() {
        let route = histogram.route;
        for (bound, count) in &histogram.buckets {
            text.line(format_args!(
                "{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {count}"
            ));
        }
        let (count, seconds) = (histogram.count, histogram.seconds);
        text.line(format_args!("{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}"));
        text.line(format_args!("{name}_sum{{route=\"{route}\"}} {seconds}"));
        text.line(format_args!("{name}_count{{route=\"{route}\"}} {count}"));
    }
}

fn connections(text: &mut Text, doors: &Doors) {
    let traffic = doors.node.traffic();
    let open = doors.places.taken();
    text.gauge("keyway_connections", "Connections of clients that are open.", open);
    let name = "keyway_connections_refused_total";
    text.family(name, "counter", "Connections that were sent away, by reason.");
    let refused = doors.places.refused();
    for (reason, count) in [
        ("client", refused.for_client),
        ("all", refused.at_all),
        ("head", refused.for_head),
    ] {
        text.line(format_args!("{name}{{reason=\"{reason}\"}} {count}"));
    }
    let name = "keyway_requests_refused_total";
    text.family(name, "counter", "Requests refused because there was too much, by what.");
    for (reason, count) in traffic.refused() {
        text.line(format_args!("{name}{{reason=\"{reason}\"}} {count}"));
    }
    let help = "Memory of request bodies that are being read.";
    text.gauge("keyway_request_bodies_bytes", help, doors.budgets.bodies.taken());
    let help = "Memory of large answers that clients are taking.";
    text.gauge("keyway_answers_bytes", help, doors.budgets.answers.taken());
    let help = "Memory of the keys and prefixes that large watches name.";
    text.gauge("keyway_watches_bytes", help, doors.budgets.watches.taken());
}

fn store(text: &mut Text, call: &Call) {
    let node = &call.node;
    let status = node.status();
    let (writes, bytes) = node.waiting_writes();
    let known = u8::from(status.leader.is_some());
    text.gauge("keyway_leader_known", "Whether this server knows a leader.", known);
    let ready = u8::from(status.not_ready.is_empty());
    text.gauge("keyway_ready", "Whether /readyz answers 200.", ready);
    text.gauge("keyway_waiting_writes", "Writes that wait for a batch.", writes);
    let help = "Bytes of the writes that have no answer yet.";
    text.gauge("keyway_waiting_writes_bytes", help, bytes);
    let help = "Watches and blocking queries that are open.";
    text.gauge("keyway_watch_subscribers", help, node.hub().subscribers());
    let help = "Blocking queries that wait.";
    text.gauge("keyway_blocking_queries", help, node.traffic().blocked());
    let (batches, commands) = node.batches();
    let help = "Batches of writes; each is one entry of the log.";
    text.one("keyway_batches_total", "counter", help, batches);
    let help = "Writes in those batches.";
    text.one("keyway_batched_writes_total", "counter", help, commands);
    let (snapshots, bytes) = node.snapshots();
    let help = "Snapshots taken since the start.";
    text.one("keyway_snapshots_total", "counter", help, snapshots);
    text.gauge("keyway_snapshot_bytes", "How long the newest snapshot is.", bytes);
    let name = "keyway_snapshot_age_seconds";
    text.family(
        name,
        "gauge",
        "How long ago the newest snapshot was taken; nothing if there is none.",
    );
    if let Some(age) = node.snapshot_age() {
        text.line(format_args!("{name} {}", age.as_secs()));
    }
    let help = "Clients that take a long list or snapshot, and hold on to the state that it is of.";
    text.gauge("keyway_held_states", help, node.views().held());
    let help = "Memory of changes that are not in the state on disk yet; the log has them.";
    text.gauge("keyway_state_unwritten_bytes", help, node.unwritten_bytes());
    let view = node.view();
    text.gauge("keyway_revision", "The newest revision.", view.revision());
    let help = "Keys, Keyway's own included.";
    text.gauge("keyway_keys", help, view.len());
    let help = "Sessions that live.";
    text.gauge("keyway_sessions", help, view.sessions().len());
    let help = "Keys and values, in bytes.";
    text.gauge("keyway_state_bytes", help, view.bytes());
    let history = view.history();
    let limits = history.limits();
    text.gauge(
        "keyway_history_bytes",
        "Keys and values of the history.",
        history.bytes(),
    );
    let help = "The most bytes of history that are kept.";
    text.gauge("keyway_history_limit_bytes", help, limits.bytes);
    let help = "The revisions whose changes are all kept.";
    text.gauge("keyway_history_limit_revisions", help, limits.revisions);
    let help = "The versions of each key that are kept.";
    text.gauge("keyway_history_limit_versions", help, limits.versions);
    let help = "The oldest revision after which everything is kept.";
    text.gauge("keyway_history_oldest_revision", help, history.floor());
    text.gauge("keyway_log_index", "The last entry of the log.", node.log_index());
    let help = "Bytes of log after the newest snapshot.";
    text.gauge("keyway_log_since_snapshot_bytes", help, node.log_since_snapshot());
    let room = node.room();
    let help = "What is free on the disk of the data folder.";
    text.gauge("keyway_disk_free_bytes", help, room.free);
    let help = "What must be free for writes to be taken.";
    text.gauge("keyway_disk_needed_bytes", help, room.needed);
}

/// What the system says of the process; on one that does not say it, nothing.
fn process(text: &mut Text, call: &Call) {
    let started = call.node.started_ms();
    let help = "When the server was started, seconds since 1970.";
    let seconds = format_args!("{}.{:03}", started / 1000, started % 1000).to_string();
    text.gauge("keyway_process_start_time_seconds", help, seconds);
    if let Some(resident) = resident_bytes() {
        let help = "Memory of the process that is in use.";
        text.gauge("keyway_process_resident_memory_bytes", help, resident);
    }
    if let Ok(open) = disk::list(Path::new("/proc/self/fd")) {
        text.gauge(
            "keyway_process_open_fds",
            "Files and sockets that are open.",
            open.len(),
        );
    }
}

fn resident_bytes() -> Option<u64> {
    let status = disk::read(Path::new("/proc/self/status")).ok()??;
    let status = String::from_utf8(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_in_use_is_read_from_the_system() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
