//! Durations as Go writes them: `10s`, `1h30m`, `250ms`, `1.5s`. A unit is required.

use std::time::Duration;

const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
];

/// Nanoseconds, negative ones too; `None` if the text is no duration or out of Go's range.
/// `0` alone needs no unit. Source: Go's `time.ParseDuration`.
#[must_use]
pub fn parse_nanos(text: &str) -> Option<i64> {
    read(text).ok()
}

/// As [`parse_nanos`], with what Go says of a text that it does not take.
pub fn parse_go(text: &str) -> Result<i64, String> {
    read(text).map_err(|bad| match bad {
        Bad::Invalid => format!("time: invalid duration {}", quoted(text)),
        Bad::NoUnit => format!("time: missing unit in duration {}", quoted(text)),
        Bad::Unit(unit) => format!("time: unknown unit {} in duration {}", quoted(unit), quoted(text)),
    })
}

/// Why a text is no duration.
enum Bad<'a> {
    Invalid,
    NoUnit,
    Unit(&'a str),
}

fn read(text: &str) -> Result<i64, Bad<'_>> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(Bad::Invalid);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(number_len(rest));
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(Bad::Invalid);
        }
        if unit.is_empty() {
            return Err(Bad::NoUnit);
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let scale = known.ok_or(Bad::Unit(unit))?.1;
        total += scaled(number, scale).ok_or(Bad::Invalid)?;
        if total > i128::from(i64::MAX) {
            return Err(Bad::Invalid);
        }
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| Bad::Invalid)
}

/// Digits, and with a point more digits.
fn number_len(text: &str) -> usize {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    match text[whole..].strip_prefix('.') {
        Some(rest) => whole + 1 + digits(rest),
        None => whole,
    }
}

/// How Go's package of time quotes: what is not printable ASCII stands as bytes.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..0x80 => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// A number with at most one point, at least one digit, times the unit.
fn scaled(number: &str, scale: f64) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: f64 = if fraction.is_empty() {
        0.0
    } else {
        format!("0.{fraction}").parse().ok()?
    };
    // Units are whole numbers of nanoseconds, so only the fraction goes through a float.
    whole
        .checked_mul(scale as i128)?
        .checked_add((fraction * scale) as i128)
}

/// A duration that cannot be negative, as our own flags and files write it.
///
/// The error is a whole sentence that names what was written and what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    match parse_nanos(text) {
        Some(nanos) if nanos >= 0 => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Some(_) => Err(format!("`{text}` is negative; give a duration such as 10s")),
        None => Err(format!(
            "`{text}` is not a duration; give a number with a unit, such as 500ms, 10s or 1h30m"
        )),
    }
}

/// The shortest usual form: `90s` is `1m30s`, `1.5s` stays `1.5s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".into(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", trim(nanos as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{}ms", trim(nanos as f64 / 1e6)),
        _ => {
            let secs = duration.as_secs();
            let (h, m) = (secs / 3600, secs / 60 % 60);
            let s = (secs % 60) as f64 + f64::from(duration.subsec_nanos()) / 1e9;
            let mut text = String::new();
            for (n, unit) in [(h, "h"), (m, "m")] {
                if n > 0 {
                    text.push_str(&format!("{n}{unit}"));
                }
            }
            if s > 0.0 {
                text.push_str(&format!("{}s", trim(s)));
            }
            text
        }
    }
}

fn trim(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_takes_is_taken_and_what_it_refuses_is_refused() {
        for (text, nanos) in [
            ("10s", 10_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
            (".5s", 500_000_000),
            ("+1s", 1_000_000_000),
            ("-1s", -1_000_000_000),
            ("1µs", 1_000),
            ("9.98s", 9_980_000_000),
            ("60000ms", 60_000_000_000),
            ("0", 0),
            ("15.000000s", 15_000_000_000),
        ] {
            assert_eq!(parse_nanos(text), Some(nanos), "{text}");
        }
        for text in [
            "",
            "abc",
            "10",
            "1e3",
            "1S",
            ".s",
            "s",
            "-",
            "1..5s",
            "99999999999h",
            "1 s",
        ] {
            assert_eq!(parse_nanos(text), None, "{text}");
        }
    }

    #[test]
    fn what_go_says_of_a_bad_one_is_said() {
        for (text, says) in [
            ("abc", r#"invalid duration "abc""#),
            ("", r#"invalid duration """#),
            ("10", r#"missing unit in duration "10""#),
            ("1.5", r#"missing unit in duration "1.5""#),
            ("1.s", r#"ok"#),
            (".s", r#"invalid duration ".s""#),
            ("5x", r#"unknown unit "x" in duration "5x""#),
            ("1 s", r#"unknown unit " s" in duration "1 s""#),
            ("1..5s", r#"missing unit in duration "1..5s""#),
            ("1s2", r#"missing unit in duration "1s2""#),
            ("é\"\\", r#"invalid duration "\xc3\xa9\"\\""#),
            ("99999999999h", r#"invalid duration "99999999999h""#),
        ] {
            let said = parse_go(text).map_or_else(|said| said, |_| "time: ok".into());
            assert_eq!(said, format!("time: {says}"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 1, 250, 1_000, 1_500, 90_000, 3_600_000, 3_661_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Ok(duration), "{millis}");
        }
    }
}
