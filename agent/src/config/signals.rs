//! What the agent does with signals that are not plainly its own, as it is written.

use std::collections::BTreeMap;
use std::str::FromStr;

use kvapi::Problem;
use nix::sys::signal::Signal;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::invalid;
use crate::policy;

/// A signal, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybeSignal(pub Option<Signal>);

impl FromStr for MaybeSignal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            name => policy::signal(name).map(|signal| Self(Some(signal))),
        }
    }
}

impl<'de> Deserialize<'de> for MaybeSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What a signal that comes to the agent is to the program.
pub type Mapped = BTreeMap<Signal, Option<Signal>>;

/// `USR1=HUP`, or `USR1=none`.
pub fn mapping(text: &str) -> Result<(String, MaybeSignal), String> {
    let (from, to) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` maps no signal; give one such as USR1=HUP or USR1=none"))?;
    policy::signal(from)?;
    Ok((from.to_owned(), to.parse()?))
}

/// Checks both against each other.
pub(super) fn check(
    reload: Option<MaybeSignal>,
    map: BTreeMap<String, MaybeSignal>,
) -> Result<(Option<Signal>, Mapped), Problem> {
    let reload = reload.map_or(Some(Signal::SIGHUP), |given| given.0);
    if let Some(signal) = reload.filter(|signal| !crate::signals::passed_on(*signal) && *signal != Signal::SIGHUP) {
        let told = format!("reload_signal: {signal} cannot be it");
        return Err(invalid(told).help("give HUP, or one that is passed on else, such as USR1; or none"));
    }
    let mut mapped = Mapped::new();
    for (name, to) in map {
        let from = policy::signal(&name).map_err(|told| invalid(format!("map_signal: {told}")))?;
        let problem = |why: &str| invalid(format!("map_signal: {from} {why}"));
        if matches!(from, Signal::SIGTERM | Signal::SIGINT) {
            return Err(problem("ends the agent").help("kill_signal is what the program gets for it"));
        }
        if Some(from) == reload {
            return Err(problem("is the agent's own").help("choose another reload_signal first, or none"));
        }
        if !crate::signals::passed_on(from) && from != Signal::SIGHUP {
            return Err(problem("is not passed on").help("docs/agent.md has what each signal does"));
        }
        mapped.insert(from, to.0);
    }
    Ok((reload, mapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_mapped_and_what_cannot_be_is_told() {
        let map = |pairs: &[&str]| {
            pairs
                .iter()
                .map(|pair| mapping(pair).unwrap())
                .collect::<BTreeMap<_, _>>()
        };
        let (reload, mapped) = check(None, map(&["USR1=HUP", "sigusr2=none"])).unwrap();
        assert_eq!(reload, Some(Signal::SIGHUP));
        assert_eq!(
            mapped,
            [(Signal::SIGUSR1, Some(Signal::SIGHUP)), (Signal::SIGUSR2, None)].into()
        );
        let other = Some(MaybeSignal(Some(Signal::SIGUSR1)));
        assert_eq!(check(other, map(&["HUP=USR2"])).unwrap().0, Some(Signal::SIGUSR1));
        assert_eq!(check(Some(MaybeSignal(None)), map(&[])).unwrap().0, None);
        for (reload, pairs, part) in [
            (None, &["TERM=QUIT"][..], "kill_signal"),
            (None, &["HUP=USR1"], "reload_signal first"),
            (None, &["SEGV=USR1"], "docs/agent.md"),
            (Some(MaybeSignal(Some(Signal::SIGTERM))), &[], "give HUP"),
        ] {
            let problem = check(reload, map(pairs)).unwrap_err();
            assert!(problem.help.concat().contains(part), "{problem:?}");
        }
        for wrong in ["USR1", "NO=HUP", "USR1=NO"] {
            assert!(mapping(wrong).is_err(), "{wrong}");
        }
    }
}
