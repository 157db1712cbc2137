//! The status document for people.

use std::fmt::Write as _;

use super::{At, Overall, Status};

impl Status {
    /// For people.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, told: String| {
            let _ = writeln!(text, "{name:<10} {told}");
        };
        let since = |since: &Option<String>| since.as_ref().map_or(String::new(), |at| format!(", since {at}"));
        let agent = &self.agent;
        line(
            "agent",
            format!(
                "{} ({}, pid {}), since {}",
                agent.name, agent.version, agent.pid, agent.since
            ),
        );
        line("state", overall_words(self.state).to_owned());
        if let Some(waiting) = &self.waiting {
            line("waits for", format!("{}{}", waiting.r#for, since(&waiting.since)));
        }
        for (name, mark) in [
            ("seen", &self.revisions.seen),
            ("rendered", &self.revisions.rendered),
            ("applied", &self.revisions.applied),
        ] {
            let told = |at: &At| match at.settings == at.live {
                true => format!("revision {}, at {}", at.settings, at.at),
                false => format!("revision {} (live {}), at {}", at.settings, at.live, at.at),
            };
            line(name, mark.as_ref().map_or("nothing".to_owned(), told));
        }
        let store = &self.store;
        let address = store
            .address
            .as_ref()
            .map_or(String::new(), |address| format!(" {address}"));
        let reason = store
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(": {reason}"));
        line(
            "store",
            format!("{}{address}{}{reason}", store.state, since(&store.since)),
        );
        if let Some(child) = &self.child {
            let pid = child.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
            let restarts = match child.restarts {
                0 => String::new(),
                1 => ", started again once".to_owned(),
                n => format!(", started again {n} times"),
            };
            let state = words(&child.state);
            line("program", format!("{state}{pid}{}{restarts}", since(&child.since)));
            if let Some(ended) = &child.last_exit {
                line("", format!("the last one {} at {}", ended.how, ended.at));
            }
        }
        for one in &self.templates {
            let revision = one
                .revision
                .map_or(String::new(), |revision| format!(", revision {revision}"));
            let state = words(&one.state);
            line(
                "file",
                format!("{}: {state}{revision}{}", one.destination, since(&one.since)),
            );
            for key in &one.keys {
                line("", format!("no key `{}` ({})", key.key, key.place));
            }
            if let Some(reason) = &one.reason {
                line("", reason.clone());
            }
        }
        if let Some(refusal) = &self.last_refusal {
            line(
                "refused",
                format!("revision {} at {}: {}", refusal.revision, refusal.at, refusal.reason),
            );
        }
        if let Some(trouble) = &self.trouble {
            let next = trouble
                .next_try
                .as_ref()
                .map_or(String::new(), |at| format!(", again at {at}"));
            line(
                "trouble",
                format!("{} (tried {} times{next})", trouble.reason, trouble.tries),
            );
        }
        text
    }
}

fn overall_words(overall: Overall) -> &'static str {
    match overall {
        Overall::InPlace => "everything is in place",
        Overall::OnItsWay => "on its way",
        Overall::Waiting => "waiting",
        Overall::Failed => "failed",
        Overall::Ending => "about to end",
    }
}

fn words(state: &str) -> String {
    state.replace('_', " ")
}
