//! Flags as Go's package `flag` reads them, which is how `consul` takes its own.
//!
//! One dash or two; `-name value`, `-name=value`, a switch alone or `-name=false`. The first word that is no
//! flag ends them, and so does `--`; a lone `-` is a word. What is wrong is said in Go's words.

use std::collections::BTreeMap;

use kvapi::duration::parse_nanos;

use super::quote;

/// A flag that a command takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) usage: &'static str,
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=true` and the like.
    Switch,
    /// The same of a type of Consul's own, which complains in the words of `strconv`.
    OwnSwitch,
    /// A text.
    Text,
    /// A text, called so in the usage.
    Named(&'static str),
    /// A number that is not negative.
    Number,
    /// Any number.
    Int,
    /// A time with a unit; it is kept in nanoseconds.
    Duration,
}

impl Flag {
    pub(crate) const fn switch(name: &'static str, usage: &'static str) -> Self {
        let kind = Kind::Switch;
        Self { name, kind, usage }
    }

    pub(crate) const fn number(name: &'static str, usage: &'static str) -> Self {
        let kind = Kind::Number;
        Self { name, kind, usage }
    }

    pub(crate) const fn int(name: &'static str, usage: &'static str) -> Self {
        let kind = Kind::Int;
        Self { name, kind, usage }
    }

    pub(crate) const fn duration(name: &'static str, usage: &'static str) -> Self {
        let kind = Kind::Duration;
        Self { name, kind, usage }
    }

    pub(crate) const fn text(name: &'static str, usage: &'static str) -> Self {
        let kind = Kind::Text;
        Self { name, kind, usage }
    }
}

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    switches: BTreeMap<&'static str, bool>,
    numbers: BTreeMap<&'static str, u64>,
    ints: BTreeMap<&'static str, i64>,
    texts: BTreeMap<&'static str, Vec<u8>>,
    /// The words behind the flags.
    pub(crate) words: Vec<Vec<u8>>,
}

impl Parsed {
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.switches.get(name).copied().unwrap_or_default()
    }

    /// Whether a switch that is on by itself was switched off.
    pub(crate) fn is_off(&self, name: &str) -> bool {
        self.switches.get(name) == Some(&false)
    }

    /// A number or a duration that was given.
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.ints.get(name).copied()
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or_default()
    }

    /// A text that was given, be it empty.
    pub(crate) fn text(&self, name: &str) -> Option<&[u8]> {
        self.texts.get(name).map(Vec::as_slice)
    }
}

/// Reads the arguments of a command; the error is Go's.
pub(crate) fn parse(flags: &[Flag], arguments: &[Vec<u8>]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let name = match argument.as_slice() {
            b"--" => break,
            [b'-', b'-', name @ ..] | [b'-', name @ ..] if !name.is_empty() => name,
            _ => {
                parsed.words.push(argument.clone());
                break;
            }
        };
        if matches!(name.first(), Some(b'-' | b'=')) {
            return Err(format!("bad flag syntax: {}", String::from_utf8_lossy(argument)));
        }
        let (name, value) = match name.iter().position(|byte| *byte == b'=') {
            Some(at) => (&name[..at], Some(&name[at + 1..])),
            None => (name, None),
        };
        let shown = String::from_utf8_lossy(name);
        let flag = flags
            .iter()
            .find(|flag| flag.name.as_bytes() == name)
            .ok_or_else(|| format!("flag provided but not defined: -{shown}"))?;
        if let Kind::Switch | Kind::OwnSwitch = flag.kind {
            let on = match value {
                None => true,
                Some(value) => boolean(value).ok_or_else(|| {
                    let quoted = quote(value);
                    let why = match flag.kind {
                        Kind::OwnSwitch => format!("strconv.ParseBool: parsing {quoted}: invalid syntax"),
                        _ => "parse error".to_owned(),
                    };
                    format!("invalid boolean value {quoted} for -{shown}: {why}")
                })?,
            };
            parsed.switches.insert(flag.name, on);
            continue;
        }
        let value = match value {
            Some(value) => value,
            None => rest
                .next()
                .ok_or_else(|| format!("flag needs an argument: -{shown}"))?
                .as_slice(),
        };
        let unfit = |why: &str| format!("invalid value {} for flag -{shown}: {why}", quote(value));
        match flag.kind {
            Kind::Number => {
                parsed.numbers.insert(flag.name, number(value).map_err(unfit)?);
            }
            Kind::Int => {
                parsed.ints.insert(flag.name, int(value).map_err(unfit)?);
            }
            Kind::Duration => {
                let text = std::str::from_utf8(value).ok();
                let nanos = text.and_then(parse_nanos).ok_or_else(|| unfit("parse error"))?;
                parsed.ints.insert(flag.name, nanos);
            }
            _ => {
                parsed.texts.insert(flag.name, value.to_vec());
            }
        }
    }
    parsed.words.extend(rest.cloned());
    Ok(parsed)
}

/// What Go's `strconv.ParseBool` takes.
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

/// A number as Go's source would have it: `844`, `0x34c`, `0o1514`, `01514`, `0b1`, `1_000`.
fn number(text: &[u8]) -> Result<u64, &'static str> {
    const SYNTAX: &str = "parse error";
    let (radix, digits) = match text {
        [] => return Err(SYNTAX),
        [b'0', b'b' | b'B', digits @ ..] if !digits.is_empty() => (2, digits),
        [b'0', b'o' | b'O', digits @ ..] if !digits.is_empty() => (8, digits),
        [b'0', b'x' | b'X', digits @ ..] if !digits.is_empty() => (16, digits),
        [b'0', digits @ ..] => (8, digits),
        digits => (10, digits),
    };
    // A zero in front, or what stands behind it, counts as a digit.
    let mut behind_digit = text.len() > digits.len();
    let mut underscores_fit = true;
    let mut number = 0_u64;
    for byte in digits {
        if *byte == b'_' {
            underscores_fit &= behind_digit;
            behind_digit = false;
            continue;
        }
        let digit = char::from(*byte).to_digit(radix).ok_or(SYNTAX)?;
        behind_digit = true;
        let larger = number
            .checked_mul(u64::from(radix))
            .and_then(|number| number.checked_add(u64::from(digit)));
        number = larger.ok_or("value out of range")?;
    }
    if underscores_fit && (behind_digit || digits.is_empty()) {
        Ok(number)
    } else {
        Err(SYNTAX)
    }
}

/// The same with a sign.
fn int(text: &[u8]) -> Result<i64, &'static str> {
    let out_of_range = |_| "value out of range";
    match text {
        [b'-', digits @ ..] => {
            number(digits).and_then(|number| i64::try_from(-i128::from(number)).map_err(out_of_range))
        }
        [b'+', digits @ ..] | digits => number(digits).and_then(|number| i64::try_from(number).map_err(out_of_range)),
    }
}

/// What Go prints of a command's flags.
pub(crate) fn defaults(flags: &[Flag]) -> String {
    let mut flags: Vec<&Flag> = flags.iter().collect();
    flags.sort_by_key(|flag| flag.name);
    let lines = flags.iter().map(|flag| {
        let takes = match flag.kind {
            Kind::Switch | Kind::OwnSwitch => String::new(),
            Kind::Text => " string".to_owned(),
            Kind::Named(name) => format!(" {name}"),
            Kind::Number => " uint".to_owned(),
            Kind::Int => " int".to_owned(),
            Kind::Duration => " duration".to_owned(),
        };
        format!("  -{}{takes}\n    \t{}\n", flag.name, flag.usage)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::switch("cas", ""),
        Flag::switch("recurse", ""),
        Flag {
            name: "stale",
            kind: Kind::OwnSwitch,
            usage: "",
        },
        Flag::number("flags", ""),
        Flag::text("separator", ""),
    ];

    fn of(arguments: &[&str]) -> Result<Parsed, String> {
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|text| text.as_bytes().to_vec()).collect();
        parse(FLAGS, &arguments)
    }

    fn words(parsed: &Parsed) -> Vec<&str> {
        parsed
            .words
            .iter()
            .map(|word| std::str::from_utf8(word).unwrap())
            .collect()
    }

    #[test]
    fn each_spelling_means_the_same() {
        for arguments in [
            ["-cas", "-flags", "7", "-separator=:"],
            ["--cas", "--flags", "7", "--separator=:"],
            ["-cas=true", "-flags", "0x7", "-separator=:"],
            ["--cas=T", "-flags", "07", "-separator=:"],
        ] {
            let parsed = of(&arguments).unwrap();
            assert!(parsed.is_on("cas") && !parsed.is_on("recurse"), "{arguments:?}");
            assert_eq!(parsed.number("flags"), 7, "{arguments:?}");
            assert_eq!(parsed.text("separator"), Some(&b":"[..]), "{arguments:?}");
        }
        let parsed = of(&["-cas", "-cas=false", "-separator", "-cas", "k"]).unwrap();
        assert!(!parsed.is_on("cas"), "the last one counts");
        assert_eq!(parsed.text("separator"), Some(&b"-cas"[..]));
        assert_eq!(words(&parsed), ["k"]);
    }

    #[test]
    fn the_first_word_ends_the_flags() {
        for (arguments, expected) in [
            (vec!["k", "-5"], vec!["k", "-5"]),
            (vec!["k", "--", "-cas"], vec!["k", "--", "-cas"]),
            (vec!["--", "-cas", "--"], vec!["-cas", "--"]),
            (vec!["-", "-cas"], vec!["-", "-cas"]),
            (vec!["-cas", "", "-cas"], vec!["", "-cas"]),
        ] {
            assert_eq!(words(&of(&arguments).unwrap()), expected, "{arguments:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_go() {
        for (arguments, said) in [
            (vec!["-x"], "flag provided but not defined: -x"),
            (vec!["--nope=1"], "flag provided but not defined: -nope"),
            (vec!["-flags"], "flag needs an argument: -flags"),
            (vec!["-flags=x"], "invalid value \"x\" for flag -flags: parse error"),
            (vec!["-flags="], "invalid value \"\" for flag -flags: parse error"),
            (
                vec!["-flags", "-1"],
                "invalid value \"-1\" for flag -flags: parse error",
            ),
            (
                vec!["-flags=18446744073709551616"],
                "invalid value \"18446744073709551616\" for flag -flags: value out of range",
            ),
            (
                vec!["-cas=maybe"],
                "invalid boolean value \"maybe\" for -cas: parse error",
            ),
            (
                vec!["-cas=yes\n"],
                "invalid boolean value \"yes\\n\" for -cas: parse error",
            ),
            (
                vec!["-stale=x"],
                "invalid boolean value \"x\" for -stale: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (vec!["---cas"], "bad flag syntax: ---cas"),
            (vec!["-=1"], "bad flag syntax: -=1"),
            (vec!["--=1"], "bad flag syntax: --=1"),
        ] {
            assert_eq!(of(&arguments).unwrap_err(), said, "{arguments:?}");
        }
    }

    #[test]
    fn numbers_with_a_sign_durations_and_switches_that_are_on_are_kept() {
        const FLAGS: &[Flag] = &[
            Flag::int("n", ""),
            Flag::duration("timeout", ""),
            Flag::switch("shell", ""),
        ];
        let of = |arguments: &[&str]| {
            let arguments: Vec<Vec<u8>> = arguments.iter().map(|text| text.as_bytes().to_vec()).collect();
            parse(FLAGS, &arguments)
        };
        let parsed = of(&["-n=-3", "-timeout", "1.5s", "-shell=false"]).unwrap();
        assert_eq!(
            (parsed.int("n"), parsed.int("timeout")),
            (Some(-3), Some(1_500_000_000))
        );
        assert!(parsed.is_off("shell") && !of(&["-shell"]).unwrap().is_off("shell"));
        assert!(!of(&[]).unwrap().is_off("shell"));
        for (argument, why) in [
            ("-n=x", "invalid value \"x\" for flag -n: parse error"),
            (
                "-n=9223372036854775808",
                "invalid value \"9223372036854775808\" for flag -n: value out of range",
            ),
            ("-timeout=10", "invalid value \"10\" for flag -timeout: parse error"),
        ] {
            assert_eq!(of(&[argument]).unwrap_err(), why);
        }
        assert_eq!(of(&["-n=-9223372036854775808"]).unwrap().int("n"), Some(i64::MIN));
    }

    #[test]
    fn numbers_are_written_as_in_gos_source() {
        for (text, value) in [
            ("0", Ok(0)),
            ("844", Ok(844)),
            ("18446744073709551615", Ok(u64::MAX)),
            ("0x34c", Ok(844)),
            ("0X_34c", Ok(844)),
            ("0b11", Ok(3)),
            ("0o17", Ok(15)),
            ("017", Ok(15)),
            ("0_7", Ok(7)),
            ("1_000", Ok(1000)),
            ("1__0", Err("parse error")),
            ("_1", Err("parse error")),
            ("1_", Err("parse error")),
            ("0x", Err("parse error")),
            ("08", Err("parse error")),
            ("+1", Err("parse error")),
            ("99999999999999999999x", Err("value out of range")),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }

    /// A flag in one of its spellings, and what it says.
    fn any_flag() -> impl Strategy<Value = (Vec<String>, &'static str, String)> {
        let dash = || prop::sample::select(vec!["-", "--"]);
        let switch = (
            dash(),
            prop::sample::select(vec!["cas", "recurse"]),
            any::<Option<bool>>(),
        );
        let number = (dash(), any::<u64>(), any::<bool>());
        let text = (dash(), "[a-z=/-]{0,4}", any::<bool>());
        let valued = |dash: &str, name: &'static str, value: String, joined: bool| match joined {
            true => (vec![format!("{dash}{name}={value}")], name, value),
            false => (vec![format!("{dash}{name}"), value.clone()], name, value),
        };
        prop_oneof![
            switch.prop_map(|(dash, name, on)| match on {
                None => (vec![format!("{dash}{name}")], name, "true".to_owned()),
                Some(on) => (vec![format!("{dash}{name}={on}")], name, on.to_string()),
            }),
            number.prop_map(move |(dash, value, joined)| valued(dash, "flags", value.to_string(), joined)),
            text.prop_map(move |(dash, value, joined)| valued(dash, "separator", value, joined)),
        ]
    }

    proptest! {
        #[test]
        fn whatever_the_spelling_the_last_of_each_counts_and_the_words_stay(
            given in prop::collection::vec(any_flag(), 0..8),
            first in "([a-z@][a-z=-]{0,5}|-)?",
            others in prop::collection::vec("[a-z=-]{0,5}", 0..4),
            ended in any::<bool>(),
        ) {
            let mut arguments: Vec<String> = given.iter().flat_map(|(spelt, _, _)| spelt.clone()).collect();
            let words: Vec<String> = std::iter::once(first).chain(others).collect();
            if ended {
                arguments.push("--".into());
            }
            arguments.extend(words.clone());
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();

            let parsed = of(&arguments).unwrap();

            let last = |name: &str| given.iter().rev().find(|(_, is, _)| *is == name).map(|(_, _, value)| value.clone());
            prop_assert_eq!(parsed.is_on("cas"), last("cas").is_some_and(|value| value == "true"));
            prop_assert_eq!(parsed.is_on("recurse"), last("recurse").is_some_and(|value| value == "true"));
            prop_assert_eq!(parsed.number("flags"), last("flags").map_or(0, |value| value.parse().unwrap()));
            prop_assert_eq!(parsed.text("separator").map(<[u8]>::to_vec), last("separator").map(String::into_bytes));
            prop_assert_eq!(super::tests::words(&parsed), words);
        }

        #[test]
        fn no_arguments_make_it_panic(arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..6)) {
            let _ = parse(FLAGS, &arguments);
        }
    }
}
