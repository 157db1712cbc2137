//! The status document for people.

use std::fmt::Write as _;

use super::{At, Key, Overall, Status};

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
        if let Some(cache) = &self.cache {
            let told = "the files are of the cache, for the store has not told yet; it was current at";
            line("cache", format!("{told} {}", cache.current_at));
        }
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
        let files = self.templates.iter().map(|one| Row {
            name: "file",
            of: one.destination.clone(),
            state: &one.state,
            revision: one.revision,
            since: &one.since,
            keys: &one.keys,
            reason: &one.reason,
        });
        let variables = self.variables.iter().map(|all| Row {
            name: "variables",
            of: list(&all.names, all.names_omitted),
            state: &all.state,
            revision: all.revision,
            since: &all.since,
            keys: &all.keys,
            reason: &all.reason,
        });
        for row in files.chain(variables) {
            let revision = row
                .revision
                .map_or(String::new(), |revision| format!(", revision {revision}"));
            let state = words(row.state);
            line(row.name, format!("{}: {state}{revision}{}", row.of, since(row.since)));
            for key in row.keys {
                line("", format!("no key `{}` ({})", key.key, key.place));
            }
            if let Some(reason) = row.reason {
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

/// One text of the set.
struct Row<'a> {
    name: &'static str,
    of: String,
    state: &'a str,
    revision: Option<u64>,
    since: &'a Option<String>,
    keys: &'a [Key],
    reason: &'a Option<String>,
}

/// So many names of variables stand in a line.
const NAMES: usize = 10;

fn list(names: &[String], omitted: usize) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    match (names.len() + omitted, shown.len()) {
        (0, _) => "none yet".to_owned(),
        (all, some) if all > some => format!("{} and {} more", shown.join(" "), all - some),
        _ => shown.join(" "),
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
