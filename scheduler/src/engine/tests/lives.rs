use std::time::Duration;

use serde_json::json;

use super::town::{Town, app};
use crate::app::AppId;
use crate::deployment::Outcome;
use crate::engine::{Denied, Wish};
use crate::instance::{Stage, Waiting};

const MOMENT: Duration = Duration::from_millis(10);

fn web() -> AppId {
    AppId::absolute("/web").unwrap()
}

#[test]
fn an_app_is_deployed_registered_and_taken_away() {
    let mut town = Town::new();

    let accepted = town.put(&app("good", 3));
    assert_eq!(town.service_keys().len(), 0, "nobody is healthy yet");
    town.calm();

    assert_eq!((town.count("good"), town.healthy("/web")), (3, 3));
    assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    assert_eq!(town.service_keys().len(), 3);
    let ports: std::collections::BTreeSet<_> = town.instances("/web").iter().map(|one| one.ports.clone()).collect();
    assert_eq!(ports.len(), 3, "each has a port of its own");

    town.propose([(web(), Wish::Gone)], false).unwrap();
    town.calm();

    assert_eq!((town.live(), town.service_keys().len()), (0, 0));
    assert!(town.instances("/web").is_empty());
    let kinds = town.kinds();
    assert_eq!((kinds["app_terminated_event"], kinds["deployment_success"]), (1, 2));
}

#[test]
fn case_2_the_same_again_changes_nothing() {
    let mut town = Town::new();
    town.put(&app("good", 2));
    town.calm();
    let before = town.instances("/web");

    let again = town.put(&app("good", 2));
    town.calm();

    assert_eq!(town.instances("/web"), before);
    assert_eq!(town.outcome(&again.deployment), Some(Outcome::Done));
}

#[test]
fn case_16_who_is_killed_comes_back_as_its_next_task_and_who_is_wiped_as_another() {
    let mut town = Town::new();
    town.put(&app("good", 1));
    town.calm();
    let first = town.instances("/web")[0].clone();

    town.kill(&first.id, false);
    town.calm();
    let again = town.instances("/web")[0].clone();
    assert_eq!(
        (again.id.clone(), again.incarnation),
        (first.id, 2),
        "nobody failed, so nobody waits"
    );
    assert!(again.is_running());

    town.kill(&again.id, true);
    town.calm();
    let other = town.instances("/web")[0].clone();
    assert_ne!(other.id, again.id);
    assert!(other.is_running());
}

#[test]
fn case_19_an_app_that_is_being_changed_is_changed_by_nobody_else_but_by_force() {
    let mut town = Town::new();
    let first = town.put(&app("ill", 2));
    town.calm();

    let wish = |does: &str| {
        let app = crate::app::read::app(&app(does, 2), &AppId::root()).unwrap().app;
        [(web(), Wish::Is(app.into()))]
    };
    let denied = town.propose(wish("good"), false).unwrap_err();
    assert_eq!(
        denied,
        Denied::Locked {
            apps: vec![web()],
            deployments: vec![first.deployment.clone()]
        }
    );
    let second = town.propose(wish("good"), true).unwrap();
    town.calm();

    assert!(matches!(
        town.outcome(&first.deployment),
        Some(Outcome::Cancelled { .. })
    ));
    assert_eq!(town.outcome(&second.deployment), Some(Outcome::Done));
    assert_eq!((town.count("good"), town.live()), (2, 2));
}

#[test]
fn case_38_what_ends_by_itself_is_started_again_later_and_later() {
    let mut town = Town::new();
    town.put(&app("bad", 1));
    town.pass(MOMENT);

    let starts = |town: &Town| town.told.iter().filter(|told| told.starts_with("start")).count();
    assert_eq!(starts(&town), 1);
    let failure = town.engine.world().launches[&web()].failure.clone().unwrap();
    assert_eq!(
        (failure.state.as_str(), failure.message.as_str()),
        ("TASK_FAILED", "it ended with code 1")
    );
    assert!(matches!(
        town.instances("/web")[0].waiting,
        Some(Waiting::Backoff { .. })
    ));

    town.pass(Duration::from_millis(1100));
    assert_eq!(starts(&town), 2, "after a second");
    town.pass(Duration::from_millis(1000));
    assert_eq!(starts(&town), 2, "and then it is 1.15 s");
    town.pass(Duration::from_millis(200));
    assert_eq!(starts(&town), 3);
    assert_eq!(town.instances("/web")[0].incarnation, 4, "the third has ended too");

    assert!(town.engine.forget_pause(&web()));
    town.pass(MOMENT);
    assert_eq!(starts(&town), 4, "at once");
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut town = Town::new();
    town.put(&app("missing", 1));
    town.pass(MOMENT);

    let failure = town.engine.world().launches[&web()].failure.clone().unwrap();
    assert_eq!(failure.message, "there is no such program");
    assert_eq!(town.live(), 0);
}

#[test]
fn case_44_fewer_instances_are_the_oldest() {
    let mut town = Town::new();
    town.put(&app("good", 2));
    town.calm();
    let oldest: Vec<_> = town.instances("/web").into_iter().map(|one| one.id).collect();
    town.put(&app("good", 5));
    town.calm();
    assert_eq!(town.healthy("/web"), 5);

    town.put(&app("good", 2));
    town.calm();

    let left: Vec<_> = town.instances("/web").into_iter().map(|one| one.id).collect();
    assert_eq!(left, oldest);
}

#[test]
fn case_49_what_ignores_its_end_is_forced_when_its_grace_is_over() {
    // An agent forces its program itself by then, and has a second to tell how that ended.
    for (agent, forced) in [("off", 2000), ("on", 3000)] {
        let mut town = Town::new();
        let mut stubborn = app("stubborn", 1);
        stubborn["taskKillGracePeriodSeconds"] = json!(2);
        stubborn["labels"] = json!({ "KEYWAY_AGENT": agent });
        town.put(&stubborn);
        town.calm();

        town.propose([(web(), Wish::Gone)], false).unwrap();
        town.pass(Duration::from_millis(forced - 100));
        assert_eq!(town.live(), 1, "{agent}");
        town.pass(Duration::from_millis(200));
        assert_eq!(town.live(), 0, "{agent}");
    }
}

#[test]
fn case_49_what_ends_within_its_grace_is_gone_when_it_has_ended() {
    let mut town = Town::new();
    let mut slow = app("slow", 1);
    slow["taskKillGracePeriodSeconds"] = json!(2);
    town.put(&slow);
    town.calm();

    town.propose([(web(), Wish::Gone)], false).unwrap();
    town.pass(Duration::from_millis(900));
    assert_eq!(town.live(), 1);
    town.pass(Duration::from_millis(200));
    assert_eq!(town.live(), 0);
    let ends = town
        .events
        .iter()
        .filter(|event| event.fields["taskStatus"] == "TASK_KILLED");
    assert_eq!(ends.count(), 1);
}

#[test]
fn case_50_load_balancers_are_told_before_it_is_asked_to_stop() {
    let mut town = Town::new();
    let mut drained = app("good", 1);
    drained["labels"] = json!({ "KEYWAY_DRAIN": "3s" });
    town.put(&drained);
    town.calm();

    town.propose([(web(), Wish::Gone)], false).unwrap();
    let told = town
        .events
        .iter()
        .find(|event| event.fields["taskStatus"] == "TASK_KILLING");
    assert_eq!(told.map(|event| event.at), Some(town.now), "at once");
    town.pass(Duration::from_millis(2900));
    assert_eq!(town.instances("/web")[0].state(), "TASK_KILLING");
    assert_eq!(town.live(), 1);
    assert!(!town.told.contains(&"kill good".into()));

    town.pass(Duration::from_millis(200));
    assert_eq!(town.live(), 0);
}

#[test]
fn case_55_of_two_checks_both_have_to_be_well_and_only_changes_are_told() {
    let mut town = Town::new();
    let mut twice = app("good", 1);
    twice["healthChecks"] = json!([twice["healthChecks"][0], { "protocol": "TCP", "portIndex": 0 }]);
    town.put(&twice);
    let told = |town: &Town| {
        let kinds = town.kinds();
        let count = |kind: &str| kinds.get(kind).copied().unwrap_or_default();
        (
            count("health_status_changed_event"),
            count("instance_health_changed_event"),
        )
    };
    while told(&town).0 == 0 {
        assert!(town.step(0));
    }
    assert_eq!(
        (told(&town), town.healthy("/web")),
        ((1, 0), 0),
        "one of them has said nothing yet"
    );
    town.calm();
    assert_eq!((told(&town), town.healthy("/web")), ((2, 1), 1));
    town.probe_all();
    town.calm();
    assert_eq!(told(&town), (2, 1), "nothing is new");

    let id = town.instances("/web")[0].id.clone();
    town.becomes(&id, "ill");
    town.probe_all();
    town.step(0);
    assert_eq!(
        (told(&town), town.healthy("/web")),
        ((3, 2), 0),
        "one of them is enough"
    );
    town.calm();
    assert_eq!(told(&town), (4, 2));
    let last = town
        .events
        .iter()
        .rfind(|event| event.kind == "instance_health_changed_event");
    assert_eq!(last.map(|event| event.fields["healthy"].clone()), Some(json!(false)));
}

#[test]
fn labels_and_checks_restart_nothing_but_what_they_tell_the_agent_does() {
    let mut town = Town::new();
    town.put(&app("good", 2));
    town.calm();
    let before: Vec<_> = town.instances("/web").iter().map(|one| one.task()).collect();

    let mut labelled = app("good", 2);
    labelled["labels"] = json!({ "HAPROXY_0_VHOST": "web.example" });
    labelled["healthChecks"][0]["path"] = json!("/health");
    let version = town.put(&labelled).version;
    town.calm();
    let tasks = |town: &Town| town.instances("/web").iter().map(|one| one.task()).collect::<Vec<_>>();
    assert_eq!(tasks(&town), before);
    assert_eq!(town.engine.world().apps[&web()].version, version);

    labelled["labels"]["KEYWAY_ON_CHANGE"] = json!("signal=HUP");
    town.put(&labelled);
    town.calm();
    assert!(tasks(&town).iter().all(|task| !before.contains(task)));
}

#[test]
fn what_is_registered_tells_a_balancer_where_each_port_is_and_how_it_is_asked() {
    let mut town = Town::new();
    let mut two = app("good", 1);
    two["portDefinitions"] = json!([{ "port": 0 }, { "port": 0 }, { "port": 0 }, { "port": 0 }]);
    two["healthChecks"] = json!([
        { "protocol": "HTTPS", "portIndex": 3, "path": "/safe", "intervalSeconds": 5 },
        { "protocol": "TCP", "portIndex": 2, "intervalSeconds": 7, "timeoutSeconds": 3, "maxConsecutiveFailures": 0 },
        { "protocol": "COMMAND", "command": { "value": "true" } },
        { "protocol": "HTTP", "portIndex": 0, "path": "/up", "intervalSeconds": 5 },
    ]);
    town.put(&two);
    town.calm();

    let instance = &town.instances("/web")[0];
    let [service] = &town.services("/web")[..] else {
        panic!("one is registered");
    };
    assert_eq!(
        (&service["host"], &service["ports"]),
        (&json!(instance.host), &json!(instance.ports))
    );
    let http = json!({ "protocol": "http", "path": "/up", "interval_ms": 5000, "timeout_ms": 20_000, "fall": 4 });
    let tcp = json!({ "protocol": "tcp", "interval_ms": 7000, "timeout_ms": 3000, "fall": 1 });
    let https = json!({ "protocol": "https", "path": "/safe", "interval_ms": 5000, "timeout_ms": 20_000, "fall": 4 });
    assert_eq!(service["checks"], json!([http, null, tcp, https]));
    assert_eq!(service["check"], http);
}

#[test]
fn who_is_published_is_registered_at_its_machine_and_who_is_not_at_its_own_address() {
    let mut town = Town::new();
    for (id, mode, port, name) in [
        ("/published", "container/bridge", json!(0), None),
        ("/own", "container", json!(null), Some("net")),
    ] {
        let mut web = app("good", 1);
        web["id"] = json!(id);
        web["container"] =
            json!({ "docker": { "image": "web" }, "portMappings": [{ "containerPort": 80, "hostPort": port }] });
        web["networks"] = json!([{ "mode": mode, "name": name }]);
        web.as_object_mut().unwrap().remove("portDefinitions");
        town.put(&web);
        town.calm();
    }

    let (published, own) = (&town.services("/published")[0], &town.services("/own")[0]);
    let port = town.instances("/published")[0].ports[0];
    assert_eq!(
        (&published["host"], &published["port"]),
        (&json!("localhost"), &json!(port))
    );
    assert_eq!((&own["host"], &own["ports"]), (&json!("10.9.8.7"), &json!([80])));
}

#[test]
fn an_instance_whose_checks_fail_is_taken_out_and_then_ended() {
    let mut town = Town::new();
    let mut ill = app("ill", 1);
    ill["healthChecks"][0]["maxConsecutiveFailures"] = json!(2);
    town.put(&ill);
    town.pass(Duration::from_secs(6));
    let first = town.instances("/web")[0].clone();
    assert!(first.is_running() && town.service_keys().is_empty());

    for _ in 0..3 {
        town.probe_all();
        town.calm();
    }

    let again = town.instances("/web")[0].clone();
    assert_eq!(
        (again.incarnation, again.stage),
        (2, Stage::Scheduled),
        "it waits, since it failed"
    );
    assert_eq!(town.kinds()["unhealthy_instance_kill_event"], 1);
}

/// An app that nobody asks how it is.
fn unchecked(does: &str) -> serde_json::Value {
    let mut app = app(does, 1);
    app["healthChecks"] = json!([]);
    app
}

#[test]
fn what_nobody_checks_is_well_when_it_has_run_for_a_while() {
    let mut town = Town::new();
    let first = town.put(&unchecked("good"));
    town.calm();
    assert_eq!(
        (town.live(), town.healthy("/web"), town.service_keys().len()),
        (1, 0, 0)
    );
    assert_eq!(town.outcome(&first.deployment), None);
    town.pass(Duration::from_millis(600));
    assert_eq!((town.healthy("/web"), town.service_keys().len()), (1, 1));
    assert_eq!(town.outcome(&first.deployment), Some(Outcome::Done));

    // Another scheduler knows that it is.
    town.fail_over();
    assert_eq!(town.healthy("/web"), 1);

    let second = town.put(&unchecked("bad"));
    town.pass(Duration::from_secs(30));
    assert_eq!(town.outcome(&second.deployment), None, "it never ran for long enough");
    assert_eq!(town.count("good"), 1);
}

#[test]
fn what_has_no_checks_any_more_is_well_and_what_dies_too_soon_was_not() {
    let mut town = Town::new();
    town.put(&app("ill", 1));
    town.pass(Duration::from_secs(6));
    assert_eq!(town.healthy("/web"), 0);
    let wish = crate::app::read::app(&unchecked("ill"), &AppId::root()).unwrap().app;
    town.propose([(web(), Wish::Is(wish.into()))], true).unwrap();
    town.pass(MOMENT);
    assert_eq!(town.healthy("/web"), 1);
}
