//! What the death of a scheduler, or of all that runs, leaves to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::town::{Town, app};
use crate::app::{AppId, read};
use crate::deployment::Outcome;
use crate::engine::Wish;
use crate::instance::{Stage, Waiting};

fn web() -> AppId {
    AppId::absolute("/web").unwrap()
}

#[test]
fn one_that_was_to_be_asked_to_stop_when_the_scheduler_died_is_asked_and_forced_in_its_time() {
    for (does, rest) in [("good", Duration::ZERO), ("stubborn", Duration::from_secs(11))] {
        let mut town = Town::new();
        town.put(&app(does, 1));
        town.calm();

        town.die_writing(usize::MAX);
        town.propose([(web(), Wish::Gone)], false).unwrap();

        assert_eq!(
            town.told.last().map(String::as_str),
            Some(format!("kill {does}").as_str())
        );
        town.pass(rest);
        assert_eq!(town.live(), 0, "{does}");
    }
}

#[test]
fn one_that_was_to_be_forced_when_the_scheduler_died_is_forced() {
    let mut town = Town::new();
    town.put(&app("stubborn", 1));
    town.calm();
    let gone = town.propose([(web(), Wish::Gone)], false).unwrap();
    town.pass(Duration::from_secs(9));

    town.die_writing(usize::MAX);
    town.pass(Duration::from_secs(60));

    assert_eq!((town.live(), town.outcome(&gone.deployment)), (0, Some(Outcome::Done)));
}

#[test]
fn one_that_nobody_knows_is_forced_to_end_and_what_it_left_is_removed() {
    let mut town = Town::new();
    town.put(&app("stubborn", 2));
    town.calm();

    town.forget_all();
    town.fail_over();
    town.pass(Duration::from_secs(11));

    assert_eq!((town.live(), town.forgotten), (0, 2));
}

#[test]
fn a_hundred_that_were_never_started_start_at_once() {
    let mut town = Town::new();
    town.die_writing(usize::MAX);
    town.put(&app("good", 100));
    assert_eq!(town.live(), 100, "the next scheduler starts them");

    town.calm();

    assert_eq!(town.healthy("/web"), 100);
    assert_eq!(town.engine.world().launches[&web()].pause, None, "nothing has failed");
}

#[test]
fn a_hundred_that_end_together_are_one_failure() {
    let mut town = Town::new();
    town.put(&app("good", 100));
    town.calm();

    town.end_all();
    town.calm();
    assert_eq!(town.live(), 0);
    assert!(matches!(
        town.instances("/web")[0].waiting,
        Some(Waiting::Backoff { .. })
    ));

    town.pass(Duration::from_secs(101));
    assert_eq!(
        town.healthy("/web"),
        100,
        "they wait for a second, and not for five minutes"
    );
}

/// Whoever is told a second time that a port is taken must not be called twice as often from then on.
#[test]
fn a_port_that_is_taken_is_tried_once_a_second_however_often_its_app_is_looked_at() {
    let mut town = Town::new();
    let mut fixed = app("good", 1);
    fixed["portDefinitions"] = json!([{ "port": 80 }]);
    fixed["requirePorts"] = json!(true);
    let mut other = fixed.clone();
    other["id"] = json!("/other");
    town.put(&other);
    town.calm();
    fixed["instances"] = json!(2);
    town.put(&fixed);
    town.calm();
    assert!(matches!(
        town.instances("/web")[0].waiting,
        Some(Waiting::PortTaken(80))
    ));

    for _ in 0..50 {
        town.engine.forget_pause(&web());
        town.engine.dirty.insert(web());
        town.pass(Duration::from_millis(7));
    }

    let alarms = town.engine.alarms.iter().filter(|(_, app)| *app == web()).count();
    assert!(alarms <= 3, "{alarms} alarms");
}

#[test]
fn a_billion_instances_are_begun_as_they_come_up() {
    let mut town = Town::new();
    let mut app = app("missing", 1);
    app["instances"] = json!(1_000_000_000);

    town.put(&app);

    let there = town.instances("/web");
    assert!(there.len() <= 2000, "{} begun", there.len());
}

#[test]
fn of_two_versions_that_a_cancelled_roll_has_left_the_ones_that_are_well_stay() {
    let mut town = Town::new();
    let mut good = app("good", 4);
    good["killSelection"] = json!("OLDEST_FIRST");
    town.put(&good);
    town.calm();
    let mut ill = good.clone();
    ill["env"]["DOES"] = json!("ill");
    let roll = town.put(&ill);
    town.calm();
    assert_eq!(town.count("ill"), 4);

    town.engine.cancel(&roll.deployment, town.now);
    town.pass(Duration::from_secs(1));

    assert_eq!((town.count("good"), town.count("ill"), town.healthy("/web")), (4, 0, 4));
}

/// More than one transaction holds: whatever part of it is written, all of it is done in the end, if it is asked for again.
#[test]
fn a_change_of_which_only_a_part_was_written_is_carried_out_or_is_not_there() {
    let wishes = |does: &str| -> BTreeMap<AppId, Wish> {
        let of = |n: u32| {
            let mut json = app(does, 1);
            json["id"] = json!(format!("/g/a{n}"));
            let app = read::app(&json, &AppId::root()).unwrap().app;
            (app.id.clone(), Wish::Is(app.into()))
        };
        (0..3).map(of).collect()
    };
    for rows in 0..14 {
        let mut town = Town::new();
        town.propose(wishes("good"), false).unwrap();
        town.calm();
        town.die_writing(rows);
        town.propose(wishes("stubborn"), false).unwrap();
        town.pass(Duration::from_secs(30));
        assert!(town.engine.world().deployments.is_empty(), "{rows}: it ends");
        for (id, app) in &town.engine.world().apps {
            let there = town.instances(id.as_str());
            let runs = there
                .iter()
                .all(|one| one.config == app.last_config_change && one.is_running());
            assert!(there.len() == 1 && runs, "{rows}: {id} runs something else");
        }

        town.propose(wishes("stubborn"), false).unwrap();
        town.pass(Duration::from_secs(30));
        assert_eq!((town.count("stubborn"), town.live()), (3, 3), "{rows}");
    }
}

#[test]
fn apps_that_were_to_be_gone_when_the_scheduler_died_are_gone_or_stay() {
    for rows in 0..8 {
        let mut town = Town::new();
        town.put(&app("good", 1));
        town.calm();
        town.die_writing(rows);
        town.propose([(web(), Wish::Gone)], false).unwrap();
        town.pass(Duration::from_secs(30));

        assert!(town.engine.world().deployments.is_empty(), "{rows}: it ends");
        let wanted = usize::from(town.engine.world().apps.contains_key(&web()));
        assert_eq!(town.live(), wanted, "{rows}");
        let stopping = town
            .instances("/web")
            .iter()
            .any(|one| matches!(one.stage, Stage::Stopping { .. }));
        assert!(!stopping, "{rows}");
    }
}

#[test]
fn who_leads_anew_takes_none_away_before_it_knows_how_they_are() {
    let mut town = Town::new();
    let mut first = app("good", 2);
    first["upgradeStrategy"] = json!({ "minimumHealthCapacity": 1, "maximumOverCapacity": 0 });
    town.put(&first);
    town.calm();
    town.told.clear();

    town.fail_over();
    first["cmd"] = json!("./web --newer");
    let roll = town.put(&first);
    assert!(
        !town.told.iter().any(|told| told.starts_with("kill")),
        "{:?}",
        town.told
    );

    town.calm();
    assert_eq!(town.outcome(&roll.deployment), Some(Outcome::Done));
}
