//! Changes to so many apps at once that what is kept of them is nearly as long as the store takes, or longer. Apps with long
//! names stand for many: a row grows with their letters.

use serde_json::{Value, json};

use super::town::{Town, app};
use crate::app::{AppId, read};
use crate::deployment::Outcome;
use crate::engine::{Denied, Wish};
use crate::limits::DEPLOYMENT;

/// How many there are; of some more the row would be too long.
const APPS: usize = 80;

fn named(n: usize) -> AppId {
    AppId::absolute(&format!("/shop/{}-{n:04}", "a".repeat(1000))).unwrap()
}

/// So many apps that are to be like this.
fn all(of: usize, json: &Value) -> Vec<(AppId, Wish)> {
    let wish = |n| {
        let mut json = json.clone();
        json["id"] = json!(named(n));
        (named(n), Wish::Is(read::app(&json, &AppId::root()).unwrap().app.into()))
    };
    (0..of).map(wish).collect()
}

#[test]
fn many_apps_are_deployed_fail_are_rolled_and_go_and_no_row_is_longer_than_the_store_takes() {
    let mut town = Town::new();
    let done = |town: &mut Town, wishes: Vec<(AppId, Wish)>| {
        let accepted = town.propose(wishes, false).unwrap();
        town.calm();
        assert_eq!(town.outcome(&accepted.deployment), Some(Outcome::Done));
    };
    done(&mut town, all(APPS, &app("good", 1)));
    assert_eq!(town.live(), APPS);
    let mut other = app("good", 1);
    other["cmd"] = json!("./web --newer");
    done(&mut town, all(APPS, &other));

    let failing = town.propose(all(APPS, &app("missing", 1)), false).unwrap();
    town.calm();
    assert_eq!(town.live(), APPS, "the old ones stay");
    assert_eq!(town.outcome(&failing.deployment), None);
    let back = town.propose(all(APPS, &other), true).unwrap();
    town.calm();
    assert!(matches!(
        town.outcome(&failing.deployment),
        Some(Outcome::Cancelled { .. })
    ));
    assert_eq!(town.outcome(&back.deployment), Some(Outcome::Done));

    done(&mut town, (0..APPS).map(|n| (named(n), Wish::Gone)).collect());
    assert_eq!(town.live(), 0);
    let longest = town.longest;
    assert!((DEPLOYMENT / 2..=DEPLOYMENT).contains(&longest), "{longest}");
}

#[test]
fn what_would_be_too_long_to_be_kept_is_refused_before_anything_is() {
    let mut town = Town::new();
    let refused = town.propose(all(2 * APPS, &app("good", 1)), false).unwrap_err();

    let Denied::TooLarge { apps, bytes, most } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((apps, most), (2 * APPS, DEPLOYMENT));
    assert!(bytes > most);
    assert_eq!((town.longest, town.live(), town.engine.world().apps.len()), (0, 0, 0));
}
