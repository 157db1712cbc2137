//! `GET /metrics`: the agent in numbers, in Prometheus' text format. Each is named and explained
//! in docs/metrics.md, which a test compares with the answer.

use std::fmt::{Display, Write as _};

use crate::core::state::{ChildState, Histogram, Link, Mark, Standing, State};
use crate::view::Revisions;

/// The text: families of samples.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl Display) {
        // A String takes all text.
        let _ = writeln!(self.0, "{line}");
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.line(format_args!("{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.line(format_args!("{name} {value}"));
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        for (bound, count) in histogram.parts() {
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        let (count, seconds) = histogram.sum();
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        self.line(format_args!("{name}_sum {seconds}\n{name}_count {count}"));
    }
}

/// The whole text. `written` is the apply latency from the leader's time, `resident` the memory in
/// use if the system says it.
#[must_use]
pub fn text(state: &State, written: &Histogram, started: f64, resident: Option<u64>) -> String {
    let mut text = Text::default();
    let (version, counts) = (env!("CARGO_PKG_VERSION"), &state.counts);
    text.family("keyway_agent_build_info", "gauge", "The version that runs; always 1.");
    text.line(format_args!("keyway_agent_build_info{{version=\"{version}\"}} 1"));
    text.gauge(
        "keyway_agent_ready",
        "Whether /readyz answers 200.",
        u8::from(state.ready),
    );

    let name = "keyway_agent_revision";
    text.family(
        name,
        "gauge",
        "The revision of the settings seen, rendered and applied last.",
    );
    for (step, mark) in [
        ("seen", state.seen),
        ("rendered", state.rendered),
        ("applied", state.applied),
    ] {
        let revision = |mark: Mark| {
            let Revisions { settings, .. } = mark.revisions;
            settings.0
        };
        text.line(format_args!("{name}{{step=\"{step}\"}} {}", mark.map_or(0, revision)));
    }
    let connected = u8::from(state.link == Link::Connected);
    text.gauge("keyway_agent_store_connected", "Whether a server answers.", connected);
    let help = "Connections to the store after the first one.";
    text.counter("keyway_agent_store_reconnects_total", help, counts.reconnects);

    let waiting = |standing: &&Standing| matches!(standing, Standing::WaitingForKeys(_) | Standing::WaitingForStore);
    let standings = || state.templates.iter().map(|one| &one.standing);
    text.gauge("keyway_agent_templates", "Templates.", state.templates.len());
    let help = "Templates that wait for a key or for the store.";
    text.gauge(
        "keyway_agent_templates_waiting",
        help,
        standings().filter(waiting).count(),
    );
    let open = standings().filter(|standing| **standing != Standing::InPlace).count();
    text.gauge(
        "keyway_agent_templates_not_in_place",
        "Templates whose file is not in place.",
        open,
    );

    text.counter(
        "keyway_agent_renders_total",
        "Templates rendered, whatever came of it.",
        counts.renders,
    );
    let help = "Templates that could not be rendered; missing keys are left out.";
    text.counter("keyway_agent_render_errors_total", help, counts.broken);
    let name = "keyway_agent_transactions_total";
    text.family(name, "counter", "Sets of files, by how they ended.");
    for (outcome, count) in [
        ("applied", counts.applied),
        ("refused", counts.refused),
        ("put_back", counts.put_back),
    ] {
        text.line(format_args!("{name}{{outcome=\"{outcome}\"}} {count}"));
    }
    let help = "Tries to write or put back files that failed.";
    text.counter("keyway_agent_unwritable_total", help, counts.unwritable);
    let help = "From a change's time in the store until it was applied; the oldest of a set counts.";
    text.histogram("keyway_agent_apply_duration_seconds", help, written);
    let help = "From a change's arrival at the agent until it was applied; the oldest of a set counts.";
    text.histogram("keyway_agent_arrival_to_apply_seconds", help, &counts.latency);

    let up = matches!(state.child, Some(ChildState::Running | ChildState::Stopping));
    text.gauge("keyway_agent_child_up", "Whether the program runs.", u8::from(up));
    let help = "Starts of the program after the first one.";
    text.counter(
        "keyway_agent_child_restarts_total",
        help,
        counts.starts.saturating_sub(1),
    );
    let help = "When the agent was started, seconds since 1970.";
    text.gauge("keyway_agent_start_time_seconds", help, format_args!("{started:.3}"));
    if let Some(resident) = resident {
        let help = "Memory of the agent that is in use.";
        text.gauge("keyway_agent_resident_memory_bytes", help, resident);
    }
    text.0
}
