//! How an app is rolled, retried, stopped and placed, as it is written.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::node::{Node, Object};
use crate::app::{Backoff, Constraint, Fetch, KillSelection, Operator, UpgradeStrategy};
use crate::share::Share;

/// Each of the two numbers may be left out, as it could before Marathon 1.5.
pub(super) fn upgrade(app: &mut Object<'_>) -> UpgradeStrategy {
    let mut strategy = app.take("upgradeStrategy").and_then(|node| node.object());
    let mut share = |name| {
        let node = strategy.as_mut()?.take(name)?;
        let share = Share::new(node.number(0.0)?);
        if share.is_none() {
            node.wrong("has to be from 0 to 1");
        }
        share
    };
    UpgradeStrategy {
        minimum_health: share("minimumHealthCapacity").unwrap_or(Share::ALL),
        maximum_over: share("maximumOverCapacity").unwrap_or(Share::ALL),
    }
}

pub(super) fn backoff(app: &mut Object<'_>) -> Backoff {
    let mut seconds = |name, default| app.seconds(name, 0).unwrap_or(Duration::from_secs(default));
    Backoff {
        first: seconds("backoffSeconds", 1),
        max: seconds("maxLaunchDelaySeconds", 300),
        factor: app.number("backoffFactor", 1.0, 1.15),
    }
}

pub(super) fn kill_selection(app: &mut Object<'_>) -> KillSelection {
    let choices = [
        ("YOUNGEST_FIRST", KillSelection::YoungestFirst),
        ("OLDEST_FIRST", KillSelection::OldestFirst),
    ];
    let read = app.take("killSelection").and_then(|node| node.choice(&choices));
    read.unwrap_or(KillSelection::YoungestFirst)
}

pub(super) fn constraint(node: &Node<'_>) -> Option<Constraint> {
    let words: Vec<String> = node.items()?.iter().map(word).collect::<Option<_>>()?;
    let (field, operator, value) = match words.as_slice() {
        [field, operator] => (field, operator, None),
        [field, operator, value] => (field, operator, Some(value.clone())),
        _ => {
            node.wrong("has to be a field, an operator and, for most operators, a value");
            return None;
        }
    };
    let operator = self::operator(&operator.to_ascii_uppercase(), value);
    let operator = operator.map_err(|error| node.wrong(error)).ok()?;
    let field = field.clone();
    Some(Constraint { field, operator })
}

/// A number counts as its text.
fn word(node: &Node<'_>) -> Option<String> {
    match node.value {
        Value::Number(number) => Some(number.to_string()),
        _ => node.text().map(Into::into),
    }
}

fn operator(name: &str, value: Option<String>) -> Result<Operator, String> {
    let needed = |value: Option<String>| value.ok_or_else(|| format!("{name} needs a value"));
    let number = |value: String| {
        let number = value.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| format!("{name} needs a whole number above 0"))
    };
    let pattern = |value: Option<String>| {
        let pattern = needed(value)?;
        match regex::Regex::new(&pattern) {
            Ok(_) => Ok(pattern),
            Err(_) => Err(format!("{name} needs a regular expression")),
        }
    };
    match name {
        "UNIQUE" if value.is_some() => Err("UNIQUE takes no value".into()),
        "UNIQUE" => Ok(Operator::Unique),
        "CLUSTER" => Ok(Operator::Cluster(value.filter(|value| !value.is_empty()))),
        "GROUP_BY" => Ok(Operator::GroupBy(value.map(number).transpose()?)),
        "LIKE" => Ok(Operator::Like(pattern(value)?)),
        "UNLIKE" => Ok(Operator::Unlike(pattern(value)?)),
        "MAX_PER" => Ok(Operator::MaxPer(number(needed(value)?)?)),
        "IS" => Ok(Operator::Is(needed(value)?)),
        _ => Err("the operators are UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER and IS".into()),
    }
}

pub(super) fn fetch(node: &Node<'_>) -> Option<Fetch> {
    let mut fetch = node.object()?;
    let uri = fetch.need("uri")?;
    let text = uri.text()?;
    if !(1..=1024).contains(&text.len()) {
        uri.wrong("has to have 1 to 1024 characters");
    }
    Some(Fetch {
        uri: text.into(),
        extract: fetch.take("extract").and_then(|node| node.boolean()).unwrap_or(true),
        executable: fetch.boolean("executable"),
        cache: fetch.boolean("cache"),
        dest_path: fetch.words("destPath"),
    })
}

/// What is of Mesos and has one meaning here, that of leaving it out: it is given back as it came. Another is refused.
pub(super) fn echoed(app: &mut Object<'_>) -> BTreeMap<String, Value> {
    const ALLOWED: &[(&str, &[&str], &str)] = &[
        ("acceptedResourceRoles", &["*"], "leave it out, or make it [\"*\"]"),
        ("role", &["*"], "leave it out, or make it \"*\""),
        ("executor", &["", "//cmd"], "leave it out"),
    ];
    let mut echoed = BTreeMap::new();
    for (name, allowed, remedy) in ALLOWED {
        let Some(node) = app.take(name) else { continue };
        let texts = match node.value {
            Value::Array(texts) => texts.iter().collect(),
            text => vec![text],
        };
        match texts
            .iter()
            .all(|text| text.as_str().is_some_and(|text| allowed.contains(&text)))
        {
            true => drop(echoed.insert((*name).to_owned(), node.value.clone())),
            false => node.wrong(format!("cannot be done here: {remedy}")),
        }
    }
    echoed.extend(app.take("unreachableStrategy").and_then(|node| unreachable(&node)));
    echoed
}

/// Nodes that cannot be reached are not known yet. The default is not kept: it is always given back.
fn unreachable(node: &Node<'_>) -> Option<(String, Value)> {
    let kept = ("unreachableStrategy".to_owned(), node.value.clone());
    if node.value == "disabled" {
        return Some(kept);
    }
    let mut strategy = node.object()?;
    let mut seconds = |name| strategy.seconds(name, 0).unwrap_or_default();
    let (inactive, expunge) = (seconds("inactiveAfterSeconds"), seconds("expungeAfterSeconds"));
    if inactive > expunge {
        node.wrong("needs an expungeAfterSeconds of at least its inactiveAfterSeconds");
    }
    let strategy = json!({ "inactiveAfterSeconds": inactive.as_secs(), "expungeAfterSeconds": expunge.as_secs() });
    (!expunge.is_zero()).then_some((kept.0, strategy))
}

/// What an app may say to Marathon on Mesos and not here.
pub(super) fn refused(app: &mut Object<'_>) {
    for (name, remedy) in [
        ("check", "say it in healthChecks"),
        ("executorResources", "leave it out: there is no executor"),
        ("residency", "mount a folder of the host with container.volumes"),
        (
            "resourceLimits",
            "leave it out: mem is a limit already, and cpus is a share",
        ),
    ] {
        app.refuse(name, remedy);
    }
}
