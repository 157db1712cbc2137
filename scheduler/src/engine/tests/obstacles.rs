//! What keeps instances from starting, and starts that hang.

use std::time::Duration;

use serde_json::{Value, json};

use super::town::{Town, app};
use crate::app::AppId;
use crate::deployment::Outcome;
use crate::driver::{Handle, Refusal, Told};
use crate::engine::{Place, Wanted, Wish};
use crate::instance::{Stage, Waiting};

fn web() -> AppId {
    AppId::absolute("/web").unwrap()
}

/// An app that is given a secret as a variable and as a file.
fn secretive() -> Value {
    let mut app = app("good", 1);
    app["env"]["PASSWORD"] = json!({ "secret": "db" });
    app["secrets"] = json!({ "db": { "source": "/shop/db" }, "tls": { "source": "shop/tls" } });
    app["container"] = json!({ "type": "MESOS", "volumes": [{ "containerPath": "tls/key", "secret": "tls" }] });
    app
}

#[test]
fn an_instance_waits_for_its_secrets_and_starts_when_the_last_has_come() {
    let mut town = Town::new();
    town.put(&secretive());
    let waits = |town: &Town| town.instances("/web")[0].waiting.clone();
    assert_eq!(waits(&town), Some(Waiting::Secret("_keyway/secrets/shop/db".into())));

    town.secrets(&["shop/db", "other"]);
    assert_eq!(waits(&town), Some(Waiting::Secret("_keyway/secrets/shop/tls".into())));
    town.pass(Duration::from_secs(60));
    assert_eq!(town.live(), 0);

    town.secrets(&["shop/db", "shop/tls"]);
    town.calm();

    assert_eq!((town.healthy("/web"), town.instances("/web")[0].incarnation), (1, 1));
    let wanted = |key: &str, place| Wanted {
        key: format!("_keyway/secrets/{key}"),
        place,
    };
    assert_eq!(
        town.wanted,
        [
            wanted("shop/db", Place::Variable("PASSWORD".into())),
            wanted("shop/tls", Place::File("tls/key".into())),
        ]
    );
    town.secrets(&[]);
    town.pass(Duration::from_secs(60));
    assert_eq!(town.healthy("/web"), 1, "what runs runs on");
}

#[test]
fn a_start_that_hangs_is_called_off_when_nobody_wants_it_any_more() {
    let mut town = Town::new();
    town.put(&app("hanging", 2));
    town.calm();
    let gone = town.propose([(web(), Wish::Gone)], false);
    assert!(gone.is_err(), "it is being deployed");

    let gone = town.propose([(web(), Wish::Gone)], true).unwrap();
    town.calm();

    assert_eq!(town.outcome(&gone.deployment), Some(Outcome::Done));
    assert!(town.instances("/web").is_empty());
}

#[test]
fn a_start_that_hangs_and_is_asked_to_end_is_started_again_and_has_not_failed() {
    let mut town = Town::new();
    town.put(&app("hanging", 1));
    town.calm();
    let first = town.instances("/web")[0].clone();

    town.kill(&first.id, false);
    town.calm();

    let now = town.instances("/web")[0].clone();
    assert_eq!((now.id, now.incarnation), (first.id, 2));
    assert!(matches!(now.stage, Stage::Staging { .. }), "{:?}", now.stage);
    let failed = town
        .engine
        .world()
        .launches
        .get(&web())
        .and_then(|launches| launches.failure.clone());
    assert_eq!(failed, None);
}

#[test]
fn two_apps_may_have_one_port_of_different_protocols() {
    let mut town = Town::new();
    let mut with = |id: &str, protocol: &str| {
        let mut app = app("good", 1);
        app["id"] = json!(id);
        app["requirePorts"] = json!(true);
        app["portDefinitions"] = json!([{ "port": 5353, "name": "dns", "protocol": protocol }]);
        town.put(&app);
        town.calm();
        (town.healthy(id), town.instances(id)[0].waiting.clone())
    };
    let waits = Some(Waiting::PortTaken(5353));

    assert_eq!(with("/tcp", "tcp"), (1, None));
    assert_eq!(with("/udp", "udp"), (1, None));
    assert_eq!(with("/again", "udp"), (0, waits.clone()));
    assert_eq!(with("/both", "udp,tcp"), (0, waits));
    // The next scheduler knows as well.
    town.fail_over();
    town.pass(Duration::from_secs(5));
    let well = ["/tcp", "/udp", "/again", "/both"].map(|app| town.healthy(app));
    assert_eq!(well, [1, 1, 0, 0]);
    let gone = [(AppId::absolute("/udp").unwrap(), Wish::Gone)];
    town.propose(gone, true).unwrap();
    town.pass(Duration::from_secs(5));
    assert_eq!((town.healthy("/again"), town.healthy("/both")), (1, 0));
}

#[test]
fn what_is_done_before_a_start_is_known_until_it_has_started() {
    let mut town = Town::new();
    town.put(&app("hanging", 1));
    town.calm();
    let task = town.instances("/web")[0].task();
    let what = "the image web:1 is being pulled".to_owned();

    town.tell(Told::Preparing {
        task: task.clone(),
        what: what.clone(),
    });
    assert_eq!(town.instances("/web")[0].waiting, Some(Waiting::Preparing(what)));

    town.tell(Told::Running {
        task,
        handle: Handle::Process { pid: 1, started: 7 },
        addresses: Vec::new(),
    });
    assert_eq!(town.instances("/web")[0].waiting, None);
}

#[test]
fn what_is_told_of_a_failure_is_not_as_long_as_a_program_likes() {
    let mut town = Town::new();
    town.put(&app("hanging", 1));
    town.calm();
    let task = town.instances("/web")[0].task();

    town.tell(Told::Refused {
        task,
        refusal: Refusal::Other("ü".repeat(100_000)),
    });

    assert!(town.longest < 10_000, "{}", town.longest);
}

#[test]
fn a_container_that_may_be_about_to_start_is_told_to_again_by_the_next_scheduler() {
    let mut town = Town::new();
    let mut app = app("hanging", 1);
    app["container"] = json!({ "type": "DOCKER", "docker": { "image": "web:1" } });
    town.put(&app);
    town.calm();

    town.fail_over();
    town.pass(Duration::from_secs(60));

    assert_eq!(town.told, ["start hanging", "start hanging"]);
    assert_eq!(town.instances("/web")[0].incarnation, 1);
}
