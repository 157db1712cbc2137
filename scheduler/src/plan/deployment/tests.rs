use super::*;

fn app(name: &str) -> AppId {
    AppId::absolute(name).unwrap()
}

/// `a>b,c` for an app and what it needs.
fn depends(lines: &[&str]) -> BTreeMap<AppId, BTreeSet<AppId>> {
    let one = |line: &&str| {
        let (name, needs) = line.split_once('>').unwrap_or((line, ""));
        let needs = needs.split(',').filter(|need| !need.is_empty());
        (app(name), needs.map(app).collect())
    };
    lines.iter().map(one).collect()
}

fn differences(of: &[(&str, Difference)]) -> BTreeMap<AppId, Difference> {
    of.iter().map(|(name, difference)| (app(name), *difference)).collect()
}

/// The steps in short: `Restart a b | Scale c`.
fn told(steps: &[Step]) -> String {
    let step = |step: &Step| {
        let action = |action: &Action| format!("{:?} {}", action.kind, action.app.as_key());
        step.iter().map(action).collect::<Vec<_>>().join(", ")
    };
    steps.iter().map(step).collect::<Vec<_>>().join(" | ")
}

#[test]
fn what_others_need_comes_first_and_what_is_independent_together() {
    use Difference::Config;
    let all = [
        ("a", Config),
        ("b", Config),
        ("c", Config),
        ("d", Config),
        ("e", Config),
    ];

    let steps = steps(&differences(&all), &depends(&["a>b,c", "b>c", "c>d", "d", "e"]));

    assert_eq!(told(&steps), "Restart d, Restart e | Restart c | Restart b | Restart a");
}

#[test]
fn new_changed_scaled_and_removed_apps_have_their_steps() {
    use Difference::{Config, ConfigOfNone, Gone, Instances, New, Nothing};
    for (of, needs, expected) in [
        (vec![("a", New)], vec!["a"], "Start a | Scale a"),
        (
            vec![("a", Config), ("b", Instances), ("c", Gone), ("d", New)],
            vec!["a", "b", "d"],
            "Stop c | Start d | Restart a, Scale b, Scale d",
        ),
        (
            vec![("mongo", Config), ("service", Config)],
            vec!["mongo", "service>mongo"],
            "Restart mongo | Restart service",
        ),
        (
            vec![("a", New), ("b", New)],
            vec!["a", "b"],
            "Start a, Start b | Scale a, Scale b",
        ),
        (vec![("a", Gone)], vec![], "Stop a"),
        (vec![("a", Nothing)], vec!["a"], ""),
        (vec![("a", ConfigOfNone)], vec!["a"], "Scale a"),
    ] {
        assert_eq!(told(&steps(&differences(&of), &depends(&needs))), expected);
    }
}

#[test]
fn case_48_a_mixed_change_has_five_steps() {
    use Difference::{Config, Gone, New};
    let of = [
        ("old", Gone),
        ("fresh", New),
        ("mongo", Config),
        ("independent", Config),
        ("service", Config),
    ];

    let steps = steps(
        &differences(&of),
        &depends(&["mongo", "independent", "service>mongo", "fresh>service"]),
    );

    assert_eq!(
        told(&steps),
        "Stop old | Start fresh | Restart independent, Restart mongo | Restart service | Scale fresh"
    );
}

#[test]
fn a_circle_that_slipped_in_ends() {
    let of = differences(&[("a", Difference::Config), ("b", Difference::Config)]);

    assert_eq!(steps(&of, &depends(&["a>b", "b>a"])).concat().len(), 2);
}

#[test]
fn case_45_what_needs_others_goes_before_them_also_by_way_of_what_stays() {
    let depends = depends(&["web>api", "api>db", "mail>db", "db", "a>b", "b>a", "c>a"]);
    let going = |apps: &[&str]| {
        let before = before_each(&apps.iter().map(|name| app(name)).collect(), &depends);
        let told = |(app, before): (AppId, BTreeSet<AppId>)| {
            let before: Vec<&str> = before.iter().map(AppId::as_key).collect();
            format!("{} before {}", before.join(" "), app.as_key())
        };
        before.into_iter().map(told).collect::<Vec<_>>()
    };

    assert_eq!(
        going(&["web", "api", "db", "mail"]),
        ["web before api", "api mail web before db"]
    );
    assert_eq!(going(&["web", "db"]), ["web before db"]);
    assert_eq!(going(&["web", "mail"]), Vec::<String>::new());
    assert_eq!(going(&["a", "b", "c"]), ["c before a", "c before b"], "a circle ends");
}
