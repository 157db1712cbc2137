//! Helpers for lists.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Call, Function, number, scalar, text};

/// The longest list that [`range`] makes.
const MAX_RANGE: u64 = 100_000;

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("list", |call| Ok(call.values().iter().copied().cloned().collect())),
    ("first", |call| one(call.list(0)?.first())),
    ("last", |call| one(call.list(0)?.last())),
    ("rest", |call| Ok(call.list(0)?.iter().skip(1).cloned().collect())),
    ("initial", |call| {
        let list = call.list(0)?;
        Ok(list[..list.len().saturating_sub(1)].to_vec().into())
    }),
    ("slice", slice),
    ("reverse", |call| Ok(call.list(0)?.iter().rev().cloned().collect())),
    ("uniq", uniq),
    ("sort", sort),
    ("groupBy", group_by),
    ("range", range),
    ("containsAll", |call| {
        held(call).map(|held| held.iter().all(|has| *has).into())
    }),
    ("containsAny", |call| {
        held(call).map(|held| held.iter().any(|has| *has).into())
    }),
    ("containsNone", |call| {
        held(call).map(|held| (!held.iter().any(|has| *has)).into())
    }),
    ("containsNotAll", |call| {
        held(call).map(|held| (!held.iter().all(|has| *has)).into())
    }),
    ("coalesce", |call| {
        let first = call.values().iter().find(|value| !text::is_empty(value));
        Ok(first.map_or("".into(), |value| (*value).clone()))
    }),
    ("ternary", |call| {
        let place = if handlebars::JsonTruthy::is_truthy(call.value(0)?, false) {
            1
        } else {
            2
        };
        call.value(place).cloned()
    }),
];

fn one(item: Option<&Value>) -> Result<Value, String> {
    item.cloned().ok_or_else(|| "the list is empty".to_owned())
}

/// `(slice x from to)`: a part of a list, or of a text by characters; `to` may be left out.
fn slice(call: &Call<'_>) -> Result<Value, String> {
    let from = call.count(1)?;
    let to = match call.values().get(2) {
        Some(_) => call.count(2)?,
        None => usize::MAX,
    };
    let many = to.saturating_sub(from);
    Ok(match call.value(0)? {
        Value::Array(items) => items.iter().skip(from).take(many).cloned().collect(),
        _ => call.text(0)?.chars().skip(from).take(many).collect::<String>().into(),
    })
}

/// `(uniq list)`: each item once, where it stands first.
fn uniq(call: &Call<'_>) -> Result<Value, String> {
    let mut seen = BTreeSet::new();
    let items = call.list(0)?.iter().filter(|item| seen.insert(item.to_string()));
    Ok(items.cloned().collect())
}

/// `(sort list by="field" numbers=true desc=true)`: by bytes, or by number. Equal ones keep their order.
fn sort(call: &Call<'_>) -> Result<Value, String> {
    let by = call.text_option("by")?;
    let mut keyed = Vec::new();
    for (place, item) in call.list(0)?.iter().enumerate() {
        let field = match &by {
            Some(name) => item.get(name),
            None => Some(item),
        };
        let name = by.as_deref().unwrap_or("form to sort by; give by=");
        let text = field.and_then(scalar);
        let text = text.ok_or_else(|| format!("item {} has no `{name}`", place + 1))?;
        let number = match call.flag("numbers") {
            true => {
                number::float(&Value::String(text.clone())).ok_or_else(|| format!("item {} is no number", place + 1))?
            }
            false => 0.0,
        };
        keyed.push((number, text, item));
    }
    let numbers = call.flag("numbers");
    keyed.sort_by(|a, b| {
        let order = if numbers {
            a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal)
        } else {
            a.1.cmp(&b.1)
        };
        if call.flag("desc") { order.reverse() } else { order }
    });
    Ok(keyed.into_iter().map(|(_, _, item)| item.clone()).collect())
}

/// `(groupBy list "field")`: `{value: [items that have it]}`.
fn group_by(call: &Call<'_>) -> Result<Value, String> {
    let field = call.text(1)?;
    let mut groups = Map::new();
    for (place, item) in call.list(0)?.iter().enumerate() {
        let name = item.get(&field).and_then(scalar);
        let name = name.ok_or_else(|| format!("item {} has no `{field}`", place + 1))?;
        let group = groups.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Some(group) = group.as_array_mut() {
            group.push(item.clone());
        }
    }
    Ok(Value::Object(groups))
}

/// `(range 3)`: 0 1 2; `(range 2 5)`: 2 3 4; `(range 5 2)`: 5 4 3; `(range 0 10 step=5)`: 0 5.
pub(crate) fn range(call: &Call<'_>) -> Result<Value, String> {
    let whole = |place: usize| {
        number::integer(call.value(place)?)
            .and_then(|number| i64::try_from(number).ok())
            .ok_or_else(|| format!("argument {} has to be a whole number", place + 1))
    };
    let (from, to) = match call.values().get(1) {
        Some(_) => (whole(0)?, whole(1)?),
        None => (0, whole(0)?),
    };
    let step = call.count_option("step")?.unwrap_or(1) as u64;
    if step == 0 {
        return Err("step= is 0".to_owned());
    }
    let count = to.abs_diff(from).div_ceil(step);
    if count > MAX_RANGE {
        return Err(format!("at most {MAX_RANGE} numbers"));
    }
    let numbers = (0..count).map(|turn| {
        let far = i128::from(turn * step);
        let number = i128::from(from) + if from <= to { far } else { -far };
        i64::try_from(number).unwrap_or_default()
    });
    Ok(numbers.map(Value::from).collect())
}

/// Which of the items of the second list are in the first.
fn held(call: &Call<'_>) -> Result<Vec<bool>, String> {
    let have: BTreeSet<String> = call.list(0)?.iter().map(Value::to_string).collect();
    Ok(call
        .list(1)?
        .iter()
        .map(|item| have.contains(&item.to_string()))
        .collect())
}
