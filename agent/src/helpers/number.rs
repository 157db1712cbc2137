//! Helpers for numbers. Values are texts, so a text that is a number counts as one.
//!
//! Whole numbers are exact: what does not fit is an error. As soon as one operand has a fraction,
//! all are floating.

use serde_json::{Number, Value};

use super::{Call, Function};

/// The helpers of this file.
pub(crate) const ALL: &[(&str, Function)] = &[
    ("add", |call| fold(call, i128::checked_add, |a, b| a + b)),
    ("mul", multiply),
    ("min", minimum),
    ("max", maximum),
    ("sub", |call| subtract(call, 0, 1)),
    ("div", |call| divide(call, 0, 1)),
    ("mod", |call| modulo(call, 0, 1)),
    ("round", round),
    ("floor", |call| rounded(call, f64::floor)),
    ("ceil", |call| rounded(call, f64::ceil)),
    ("parseInt", |call| {
        let base = call.count_option("base")?.unwrap_or(10);
        if !(2..=36).contains(&base) {
            return Err("base= has to be from 2 to 36".to_owned());
        }
        let number = i128::from_str_radix(call.text(0)?.trim(), base as u32);
        exact(number.map_err(|_| not("a whole number"))?)
    }),
    ("parseUint", |call| {
        let number: u64 = call
            .text(0)?
            .trim()
            .parse()
            .map_err(|_| not("a whole number from 0 on"))?;
        Ok(number.into())
    }),
    ("parseFloat", |call| {
        floating(float(&call.text(0)?.trim().into()).ok_or_else(|| not("a number"))?)
    }),
    ("parseBool", |call| match call.text(0)?.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true.into()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false.into()),
        _ => Err(not("true or false")),
    }),
];

/// The product of all.
pub(crate) fn multiply(call: &Call<'_>) -> Result<Value, String> {
    fold(call, i128::checked_mul, |a, b| a * b)
}

/// The smallest.
pub(crate) fn minimum(call: &Call<'_>) -> Result<Value, String> {
    fold(call, |a, b| Some(a.min(b)), f64::min)
}

/// The largest.
pub(crate) fn maximum(call: &Call<'_>) -> Result<Value, String> {
    fold(call, |a, b| Some(a.max(b)), f64::max)
}

fn not(what: &str) -> String {
    format!("argument 1 is not {what}")
}

/// A whole number, or a text that is one.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Any number, or a text that is one.
pub(crate) fn float(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => text.parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

fn exact(number: i128) -> Result<Value, String> {
    i64::try_from(number)
        .map(Value::from)
        .or_else(|_| u64::try_from(number).map(Value::from))
        .map_err(|_| "the result does not fit into 64 bits".to_owned())
}

fn floating(number: f64) -> Result<Value, String> {
    Number::from_f64(number)
        .map(Value::Number)
        .ok_or_else(|| "the result is no number".to_owned())
}

fn operand(call: &Call<'_>, place: usize) -> Result<f64, String> {
    float(call.value(place)?).ok_or_else(|| format!("argument {} has to be a number", place + 1))
}

/// Two operands, whole if both are.
enum Pair {
    Whole(i128, i128),
    Floating(f64, f64),
}

fn pair(call: &Call<'_>, a: usize, b: usize) -> Result<Pair, String> {
    Ok(match (integer(call.value(a)?), integer(call.value(b)?)) {
        (Some(a), Some(b)) => Pair::Whole(a, b),
        _ => Pair::Floating(operand(call, a)?, operand(call, b)?),
    })
}

fn fold(call: &Call<'_>, whole: fn(i128, i128) -> Option<i128>, floats: fn(f64, f64) -> f64) -> Result<Value, String> {
    let places = 0..call.values().len().max(2);
    let integers: Option<Vec<i128>> = places.clone().map(|at| integer(call.value(at).ok()?)).collect();
    if let Some(integers) = integers {
        let result = integers.into_iter().map(Some).reduce(|a, b| whole(a?, b?)).flatten();
        return exact(result.unwrap_or(i128::MAX));
    }
    let numbers: Vec<f64> = places.map(|at| operand(call, at)).collect::<Result<_, _>>()?;
    floating(numbers.into_iter().reduce(floats).unwrap_or_default())
}

/// One operand less the other.
pub(crate) fn subtract(call: &Call<'_>, from: usize, what: usize) -> Result<Value, String> {
    match pair(call, from, what)? {
        Pair::Whole(a, b) => exact(a.saturating_sub(b)),
        Pair::Floating(a, b) => floating(a - b),
    }
}

/// One operand by the other; of whole numbers the whole part.
pub(crate) fn divide(call: &Call<'_>, what: usize, by: usize) -> Result<Value, String> {
    match pair(call, what, by)? {
        Pair::Whole(a, b) => exact(a.checked_div(b).ok_or("division by zero")?),
        Pair::Floating(_, 0.0) => Err("division by zero".to_owned()),
        Pair::Floating(a, b) => floating(a / b),
    }
}

/// What a division leaves, with the sign of what is divided.
pub(crate) fn modulo(call: &Call<'_>, what: usize, by: usize) -> Result<Value, String> {
    match pair(call, what, by)? {
        Pair::Whole(a, b) => exact(a.checked_rem(b).ok_or("division by zero")?),
        Pair::Floating(..) => Err("the operands have to be whole numbers".to_owned()),
    }
}

/// `(round 1.256 places=2)`: a whole number without `places=`.
fn round(call: &Call<'_>) -> Result<Value, String> {
    let Some(places) = call.count_option("places")? else {
        return rounded(call, f64::round);
    };
    if places > 15 {
        return Err("at most 15 places".to_owned());
    }
    let scale = 10f64.powi(places as i32);
    floating((operand(call, 0)? * scale).round() / scale)
}

fn rounded(call: &Call<'_>, how: fn(f64) -> f64) -> Result<Value, String> {
    if let Some(number) = integer(call.value(0)?) {
        return exact(number);
    }
    let number = how(operand(call, 0)?);
    if number.abs() >= 2f64.powi(63) {
        return Err("the result does not fit into 64 bits".to_owned());
    }
    Ok((number as i64).into())
}
