//! What several files ask for after a change becomes what is done once.

use std::fmt;

use nix::sys::signal::Signal;

use crate::policy::{CommandLine, OnChange};

/// Everything that a change asks for: commands first, each once and in order, then the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaction {
    /// The commands.
    pub commands: Vec<CommandLine>,
    /// The signals for the program; none if it is started again.
    pub signals: Vec<Signal>,
    /// Whether the program is started again.
    pub restart: bool,
}

impl Reaction {
    /// What the files ask for, in their order.
    pub fn of<'a>(wanted: impl IntoIterator<Item = &'a OnChange>) -> Self {
        let mut all = Self::default();
        for one in wanted {
            match one {
                OnChange::Nothing => {}
                OnChange::Command(line) => add(&mut all.commands, line),
                OnChange::Signal(signal) => add(&mut all.signals, signal),
                OnChange::Restart => all.restart = true,
            }
        }
        if all.restart {
            // Whoever starts reads everything.
            all.signals.clear();
        }
        all
    }

    /// Whether nothing has to be done.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

fn add<T: Clone + PartialEq>(list: &mut Vec<T>, one: &T) {
    if !list.contains(one) {
        list.push(one.clone());
    }
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = self.commands.iter().cloned().map(OnChange::Command);
        let signals = self.signals.iter().copied().map(OnChange::Signal);
        let restart = self.restart.then_some(OnChange::Restart);
        let parts: Vec<String> = commands
            .chain(signals)
            .chain(restart)
            .map(|one| one.to_string())
            .collect();
        match parts.as_slice() {
            [] => f.write_str("none"),
            parts => f.write_str(&parts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wanted() -> impl Strategy<Value = OnChange> {
        prop_oneof![
            Just(OnChange::Nothing),
            Just(OnChange::Restart),
            prop_oneof![Just(Signal::SIGHUP), Just(Signal::SIGUSR1)].prop_map(OnChange::Signal),
            "[abc]".prop_map(|line| OnChange::Command(CommandLine::Shell(line))),
        ]
    }

    proptest! {
        #[test]
        fn everything_is_done_once_in_the_order_of_the_first_who_asked(wanted in prop::collection::vec(wanted(), 0..12)) {
            let reaction = Reaction::of(&wanted);

            let mut commands = Vec::new();
            for one in &wanted {
                if let OnChange::Command(line) = one && !commands.contains(line) {
                    commands.push(line.clone());
                }
            }
            prop_assert_eq!(&reaction.commands, &commands);
            prop_assert_eq!(reaction.restart, wanted.contains(&OnChange::Restart));
            for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
                let told = reaction.signals.iter().filter(|told| **told == signal).count();
                prop_assert_eq!(told > 0, wanted.contains(&OnChange::Signal(signal)) && !reaction.restart);
                prop_assert!(told <= 1);
            }
            prop_assert_eq!(reaction.is_nothing(), wanted.iter().all(|one| *one == OnChange::Nothing));
            let twice: Vec<OnChange> = wanted.iter().chain(&wanted).cloned().collect();
            prop_assert_eq!(Reaction::of(&twice), reaction);
        }
    }

    #[test]
    fn it_is_told_as_it_was_asked_for() {
        let wanted = ["command=x", "signal=HUP", "command=y", "none", "command=x"].map(|one| one.parse().unwrap());
        assert_eq!(Reaction::of(&wanted).to_string(), "command=x, command=y, signal=HUP");
        assert_eq!(Reaction::default().to_string(), "none");
    }
}
