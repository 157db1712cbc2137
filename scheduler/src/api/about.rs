//! Who this is, who leads, and numbers.

use std::fmt::Write as _;

use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::answer::{Answer, Refused, ok, text};
use super::server::Api;
use crate::run::{Leading, Role};
use crate::world::World;

/// The version of Marathon whose API this is: clients compare it.
const MARATHON: &str = "1.11.0";

pub(super) fn ping(headers: &HeaderMap) -> Answer {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match accept.contains("application/json") {
        true => ok(&json!("pong")),
        false => Ok(text(StatusCode::OK, "text/plain; charset=utf-8", "pong")),
    }
}

/// Where the API of whoever leads is, as `host:port`.
fn leader(api: &Api) -> Option<String> {
    match &*api.role.borrow() {
        Role::Unknown => None,
        Role::Follows(address) => Some(address.clone()),
        Role::Leads(_) => Some(api.address.clone()),
    }
}

pub(super) fn info(api: &Api) -> Answer {
    let leads = matches!(&*api.role.borrow(), Role::Leads(_));
    let settings = &api.settings;
    ok(&json!({
        "name": "keyway", "version": MARATHON, "buildref": concat!("keyway ", env!("CARGO_PKG_VERSION")),
        "elected": leads, "leader": leader(api), "frameworkId": "keyway",
        "marathon_config": {
            "hostname": settings.host, "framework_name": "keyway", "ha": true, "executor": "//cmd",
            "local_port_min": settings.service_ports.start(), "local_port_max": settings.service_ports.end(),
        },
        "zookeeper_config": {},
        "http_config": { "http_port": api.port },
    }))
}

pub(super) fn who_leads(api: &Api) -> Answer {
    let leader = leader(api).ok_or_else(|| Refused::not_found("There is no leader"))?;
    ok(&json!({ "leader": leader }))
}

/// Lets another one lead.
pub(super) fn abdicate(api: &Api) -> Answer {
    // One that is asked already has it from somebody else.
    let _ = api.abdicate.try_send(());
    ok(&json!({ "message": "Leadership abdicated" }))
}

/// What is counted: a name, what it is, and how many.
fn numbers(world: &World) -> Vec<(&'static str, &'static str, usize)> {
    let count = |is: &dyn Fn(&crate::instance::Instance) -> bool| {
        world.instances.values().filter(|instance| is(instance)).count()
    };
    vec![
        ("apps", "Apps that are defined.", world.apps.len()),
        ("deployments", "Changes that are under way.", world.deployments.len()),
        (
            "instances",
            "Instances that are wanted or still there.",
            world.instances.len(),
        ),
        (
            "instances_running",
            "Instances whose task runs.",
            count(&|one| one.is_running()),
        ),
        (
            "instances_healthy",
            "Instances that run and are well.",
            count(&|one| world.is_well(one)),
        ),
        (
            "instances_waiting",
            "Instances that something keeps from starting.",
            count(&|one| one.waiting.is_some()),
        ),
    ]
}

/// As Marathon tells them.
pub(super) fn metrics(leading: &Leading) -> Answer {
    let world = leading.world();
    let numbers = numbers(&world);
    let ours = numbers
        .iter()
        .map(|(name, _, number)| (format!("keyway.{name}.gauge"), *number));
    let marathons = [("marathon.apps.active.gauge".to_owned(), world.apps.len())];
    let gauges: serde_json::Map<_, _> = ours
        .chain(marathons)
        .map(|(name, number)| (name, json!({ "value": number })))
        .collect();
    ok(&json!({
        "version": "4.0.0", "counters": {}, "gauges": gauges, "histograms": {}, "meters": {}, "timers": {},
    }))
}

/// As Prometheus reads them.
pub(super) fn prometheus(leading: &Leading) -> Answer {
    let lines = exposition(&leading.world());
    Ok(text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", lines))
}

/// The lines that Prometheus reads. What each number is stands in docs/metrics.md, which a test compares with this.
fn exposition(world: &World) -> String {
    let mut out = String::new();
    for (name, help, number) in numbers(world) {
        let name = format!("keyway_scheduler_{name}");
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {number}\n");
    }
    let active = world.apps.len();
    let _ = write!(
        out,
        "# TYPE marathon_apps_active_gauge gauge\nmarathon_apps_active_gauge {active}\n"
    );
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_metrics_are_those_that_the_documentation_explains() {
        let page = include_str!("../../../docs/metrics.md");
        let rows = page.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.trim_end_matches('`');
            let is_ours = name.starts_with("keyway_scheduler_") || name.starts_with("marathon_");
            is_ours.then_some(())?;
            Some(format!("{name} {}", cells.next()?))
        });
        let explained: BTreeSet<String> = rows.collect();

        let told = exposition(&World::default());

        let types = told.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        assert_eq!(types.map(str::to_owned).collect::<BTreeSet<_>>(), explained);
        assert!(told.contains("\nkeyway_scheduler_apps 0\n"), "{told}");
    }
}
