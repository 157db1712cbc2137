use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::town::{Town, app};
use crate::app::AppId;
use crate::deployment::Outcome;
use crate::engine::Wish;

fn strategy(does: &str, instances: u32, minimum: f64, over: f64) -> Value {
    let mut app = app(does, instances);
    app["upgradeStrategy"] = json!({ "minimumHealthCapacity": minimum, "maximumOverCapacity": over });
    app
}

/// Another configuration of an app that does the same.
fn again(mut app: Value) -> Value {
    app["cmd"] = json!("./web --newer");
    app
}

#[test]
fn case_36_ten_are_rolled_with_nine_healthy_and_eleven_there_at_any_moment() {
    let mut town = Town::new();
    let first = strategy("good", 10, 0.9, 0.1);
    town.put(&first);
    town.calm();
    let before: Vec<_> = town.instances("/web").iter().map(|one| one.id.clone()).collect();

    let accepted = town.put(&again(first));
    loop {
        assert!(town.healthy("/web") >= 9 && town.live() <= 11);
        if !town.step(0) {
            break;
        }
    }

    assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    assert!(town.instances("/web").iter().all(|one| !before.contains(&one.id)));
    assert_eq!(town.healthy("/web"), 10);
}

#[test]
fn case_38_a_bad_version_takes_no_old_one_away() {
    let mut town = Town::new();
    town.put(&app("good", 3));
    town.calm();

    let accepted = town.put(&strategy("bad", 3, 1.0, 1.0));
    town.pass(Duration::from_secs(60));

    assert_eq!((town.healthy("/web"), town.count("good")), (3, 3));
    assert_eq!(town.outcome(&accepted.deployment), None, "it is still trying");
}

#[test]
fn a_version_that_never_is_healthy_is_rolled_back_and_those_that_fit_are_kept() {
    let mut town = Town::new();
    let mut good = strategy("good", 4, 0.5, 0.0);
    good["labels"] = json!({ "KEYWAY_PROGRESS_DEADLINE": "30s" });
    town.put(&good);
    town.calm();
    let before: Vec<_> = town.instances("/web").iter().map(|one| one.task()).collect();

    let mut ill = good.clone();
    ill["env"]["DOES"] = json!("ill");
    let accepted = town.put(&ill);
    town.pass(Duration::from_secs(29));
    assert_eq!(
        (town.count("good"), town.count("ill")),
        (2, 2),
        "stopped at the first wave"
    );

    town.pass(Duration::from_secs(2));

    let Some(Outcome::Failed {
        reason,
        undone_by: Some(undo),
    }) = town.outcome(&accepted.deployment)
    else {
        panic!("{:?}", town.outcome(&accepted.deployment));
    };
    assert!(
        reason.starts_with("nothing became better for 30s; web.instance-"),
        "{reason}"
    );
    assert!(reason.ends_with(" TASK_RUNNING: it is not healthy: 500"), "{reason}");
    assert_eq!(town.outcome(&undo), Some(Outcome::Done));
    assert_eq!((town.count("good"), town.live(), town.healthy("/web")), (4, 4, 4));
    let after: Vec<_> = town.instances("/web").iter().map(|one| one.task()).collect();
    assert_eq!(
        before.iter().filter(|task| after.contains(task)).count(),
        2,
        "two never stopped"
    );
    assert_eq!(town.kinds()["deployment_failed"], 1);
    let past = town.engine.world().past.values();
    let past = past
        .map(AsRef::as_ref)
        .find(|past| past.deployment.id == accepted.deployment);
    let reached = &past.unwrap().reached[&AppId::absolute("/web").unwrap()];
    assert_eq!(
        (reached.target, reached.old, reached.new, reached.healthy),
        (4, 2, 2, 0),
        "as it was when it ended, and not as it is now"
    );
}

#[test]
fn what_is_well_for_a_moment_again_and_again_makes_no_progress() {
    let mut town = Town::new();
    let mut good = strategy("good", 4, 0.5, 0.0);
    good["labels"] = json!({ "KEYWAY_PROGRESS_DEADLINE": "30s" });
    town.put(&good);
    town.calm();

    let mut brief = good.clone();
    brief["env"]["DOES"] = json!("brief");
    let accepted = town.put(&brief);
    town.pass(Duration::from_secs(120));

    let outcome = town.outcome(&accepted.deployment);
    assert!(
        matches!(outcome, Some(Outcome::Failed { undone_by: Some(_), .. })),
        "{outcome:?}"
    );
    assert_eq!((town.count("good"), town.live(), town.healthy("/web")), (4, 4, 4));
}

#[test]
fn whoever_leads_anew_gives_a_deployment_its_whole_time() {
    let mut town = Town::new();
    let mut good = strategy("good", 4, 0.5, 0.0);
    good["labels"] = json!({ "KEYWAY_PROGRESS_DEADLINE": "30s" });
    town.put(&good);
    town.calm();
    let mut ill = good.clone();
    ill["env"]["DOES"] = json!("ill");
    let accepted = town.put(&ill);
    town.pass(Duration::from_secs(25));

    town.fail_over();
    town.pass(Duration::from_secs(25));
    assert_eq!(town.outcome(&accepted.deployment), None);

    town.pass(Duration::from_secs(10));
    let outcome = town.outcome(&accepted.deployment);
    assert!(matches!(outcome, Some(Outcome::Failed { .. })), "{outcome:?}");
}

#[test]
fn what_may_wait_is_never_rolled_back() {
    let mut town = Town::new();
    town.put(&app("good", 1));
    town.calm();
    let mut ill = app("ill", 1);
    ill["labels"] = json!({ "KEYWAY_PROGRESS_DEADLINE": "30s", "KEYWAY_ON_FAILURE": "wait" });

    let accepted = town.put(&ill);
    town.pass(Duration::from_secs(3600));

    assert_eq!(town.outcome(&accepted.deployment), None);
    assert_eq!(town.count("good"), 1);
}

#[test]
fn case_41_one_that_dies_during_the_roll_is_replaced_before_it_ends() {
    let mut town = Town::new();
    let first = strategy("good", 3, 1.0, 0.4);
    town.put(&first);
    town.calm();
    let accepted = town.put(&again(first));
    while town.instances("/web").iter().filter(|one| one.is_running()).count() < 4 {
        assert!(town.step(0));
    }
    let new = town
        .instances("/web")
        .into_iter()
        .find(|one| one.config == accepted.version && one.is_running());

    town.dies(&new.unwrap().id);
    for _ in 0..200 {
        assert!(town.live() <= 4);
        if !town.step(0) {
            break;
        }
    }
    assert_eq!(town.outcome(&accepted.deployment), None);
    town.pass(Duration::from_secs(2));

    assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    assert_eq!((town.live(), town.healthy("/web")), (3, 3));
}

#[test]
fn case_42_another_scheduler_goes_on_with_what_runs() {
    let mut town = Town::new();
    let first = strategy("good", 6, 0.5, 0.5);
    town.put(&first);
    town.calm();
    let accepted = town.put(&again(first));
    for _ in 0..10 {
        town.step(0);
    }
    let tasks: Vec<_> = town
        .instances("/web")
        .iter()
        .filter(|one| one.is_running())
        .map(|one| one.task())
        .collect();

    town.fail_over();
    let adopted: Vec<_> = town
        .instances("/web")
        .iter()
        .filter(|one| one.has_task())
        .map(|one| one.task())
        .collect();
    assert!(tasks.iter().all(|task| adopted.contains(task)));
    town.calm();

    assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    assert_eq!((town.live(), town.healthy("/web")), (6, 6));
}

#[test]
fn case_46_and_47_none_are_rolled_at_once() {
    let mut town = Town::new();
    town.put(&app("good", 2));
    town.calm();

    let accepted = town.put(&again(app("good", 0)));
    town.calm();
    assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    assert_eq!(town.live(), 0);

    let web = AppId::absolute("/web").unwrap();
    let restarted = town.propose([(web, Wish::Restarted)], false).unwrap();
    assert_eq!(town.outcome(&restarted.deployment), Some(Outcome::Done));
}

#[test]
fn case_45_what_others_need_is_there_before_them() {
    let mut town = Town::new();
    let mut db = app("good", 1);
    db["id"] = json!("/db");
    let mut web = app("good", 1);
    web["dependencies"] = json!(["/db"]);
    let wishes = [&db, &web].map(|json| {
        let app = crate::app::read::app(json, &AppId::root()).unwrap().app;
        (app.id.clone(), Wish::Is(app.into()))
    });

    town.propose(wishes, false).unwrap();
    while town.healthy("/db") == 0 {
        assert!(town.instances("/web").is_empty());
        assert!(town.step(0));
    }
    town.calm();

    assert_eq!((town.healthy("/db"), town.healthy("/web")), (1, 1));
}

#[test]
fn case_45_what_needs_others_is_gone_before_they_go_in_one_step() {
    let mut town = Town::new();
    let mut db = app("good", 2);
    db["id"] = json!("/db");
    let mut web = app("slow", 2);
    web["dependencies"] = json!(["/db"]);
    town.put(&db);
    town.calm();
    town.put(&web);
    town.calm();

    let gone = ["/db", "/web"].map(|id| (AppId::absolute(id).unwrap(), Wish::Gone));
    let accepted = town.propose(gone, false).unwrap();
    let deployment = town.engine.world().deployments[&accepted.deployment].clone();
    assert_eq!((deployment.steps.len(), deployment.steps[0].len()), (1, 2));
    town.pass(Duration::from_millis(900));
    assert_eq!(
        (town.healthy("/db"), town.count("slow")),
        (2, 2),
        "both are being asked to stop"
    );
    town.fail_over();
    town.pass(Duration::from_millis(50));
    assert_eq!(town.count("good"), 2, "another scheduler knows the order too");
    town.pass(Duration::from_secs(3));

    assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    assert_eq!(town.live(), 0);
    let kinds = town.kinds();
    assert_eq!(kinds["app_terminated_event"], 2);
}

#[test]
fn what_waits_after_a_failure_is_not_started_again_once_it_is_replaced() {
    let mut town = Town::new();
    town.put(&app("bad", 2));
    town.pass(Duration::from_millis(10));
    let starts = |town: &Town| town.told.iter().filter(|told| *told == "start bad").count();
    assert_eq!((starts(&town), town.instances("/web").len()), (2, 2));

    let wish = crate::app::read::app(&app("good", 2), &AppId::root()).unwrap().app;
    let accepted = town.propose([(wish.id.clone(), Wish::Is(wish.into()))], true).unwrap();
    town.pass(Duration::from_secs(5));

    assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    assert_eq!((starts(&town), town.count("good"), town.live()), (2, 2, 2));
}

/// What becomes of the scheduler.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Lives,
    Dies,
    /// When it has written so many of the next rows.
    DiesWriting(usize),
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Lives),
        1 => Just(Fate::Dies),
        1 => (0usize..6).prop_map(Fate::DiesWriting),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes first, and whenever the scheduler dies: floor and cap hold, nothing starts twice or is forgotten.
    #[test]
    fn a_roll_in_any_order_and_over_deaths_of_the_scheduler_holds_floor_and_cap_and_ends(
        n in 1u32..8,
        minimum in (0u32..=4).prop_map(|quarters| f64::from(quarters) / 4.0),
        over in (0u32..=4).prop_map(|quarters| f64::from(quarters) / 4.0),
        order in prop::collection::vec((0usize..8, fate()), 0..200),
    ) {
        let mut town = Town::new();
        let first = strategy("good", n, minimum, over);
        town.put(&first);
        town.calm();
        let accepted = town.put(&again(first));
        let floor = (f64::from(n) * minimum).ceil() as usize;
        let cap = (f64::from(n) * (1.0 + over)).floor() as usize;
        let most = if floor == cap { cap + 1 } else { cap };
        for (nth, fate) in order {
            match fate {
                Fate::Lives => {}
                Fate::Dies => town.fail_over(),
                Fate::DiesWriting(rows) => town.die_writing(rows),
            }
            // Of those that run, as many as must are asked by nobody to stop.
            prop_assert!(town.count("good") >= floor);
            prop_assert!(town.live() <= most, "{} of {most}", town.live());
            town.step(nth);
        }
        town.calm();
        prop_assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
        prop_assert_eq!((town.live(), town.healthy("/web")), (n as usize, n as usize));
        prop_assert_eq!(town.service_keys().len(), n as usize);
    }
}
