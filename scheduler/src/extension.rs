//! What an app may say that Marathon has no field for: in its labels, which every client of Marathon leaves alone.
//! docs/marathon.md tells each with its default, and a test compares the two.
//!
//! | label | what it is |
//! | --- | --- |
//! | `KEYWAY_TEMPLATE`, `KEYWAY_TEMPLATE_<n>` | `SRC:DST`: a template of this machine, and the file that is made of it |
//! | `KEYWAY_CONFIG` | a configuration file of the agent, on this machine |
//! | `KEYWAY_ON_CHANGE` | `none`, `restart`, `signal=HUP`, `command=...` |
//! | `KEYWAY_CHECK` | a command that checks the files before they replace the old ones |
//! | `KEYWAY_ENV_PREFIX` | keys under it are variables of the program |
//! | `KEYWAY_AGENT` | `on`, or `off` for a program that has to be the first process of its container |
//! | `KEYWAY_DRAIN` | how long load balancers have before an instance is asked to stop |
//! | `KEYWAY_PROGRESS_DEADLINE` | how long a deployment may go on with nothing becoming better; `0s` for ever |
//! | `KEYWAY_ON_FAILURE` | what comes then: `rollback`, or `wait` |

use std::collections::BTreeMap;
use std::time::Duration;

use kvapi::duration;

use crate::driver::AgentUse;

/// How long a deployment may go on without progress, unless its app says otherwise.
pub const PROGRESS_DEADLINE: Duration = Duration::from_secs(600);

/// How long load balancers have, for an app that says that one is in front of it.
const DRAIN: Duration = Duration::from_secs(1);

/// What the labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// `None` if there is to be none.
    pub agent: Option<AgentUse>,
    pub drain: Duration,
    /// `None` is never.
    pub progress_deadline: Option<Duration>,
    pub on_failure: OnFailure,
}

/// What comes when a deployment makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The last version that was healthy comes back.
    Rollback,
    /// Nothing, as in Marathon.
    Wait,
}

/// A label that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct BadLabel {
    pub label: String,
    pub what: String,
}

impl Extension {
    /// Reads an app's labels.
    pub fn of(labels: &BTreeMap<String, String>) -> Result<Self, BadLabel> {
        let time = |label: &str| match labels.get(label) {
            None => Ok(None),
            Some(text) => duration::parse(text).map(Some).map_err(|e| bad(label, e)),
        };
        let has_balancer = labels.keys().any(|label| label.starts_with("HAPROXY_"));
        let deadline = time("KEYWAY_PROGRESS_DEADLINE")?.unwrap_or(PROGRESS_DEADLINE);
        Ok(Self {
            agent: agent(labels)?,
            drain: time("KEYWAY_DRAIN")?.unwrap_or(if has_balancer { DRAIN } else { Duration::ZERO }),
            progress_deadline: (!deadline.is_zero()).then_some(deadline),
            on_failure: match labels.get("KEYWAY_ON_FAILURE").map(String::as_str) {
                None | Some("rollback") => OnFailure::Rollback,
                Some("wait") => OnFailure::Wait,
                Some(other) => {
                    return Err(bad(
                        "KEYWAY_ON_FAILURE",
                        format!("{other:?} is neither rollback nor wait"),
                    ));
                }
            },
        })
    }
}

fn bad(label: &str, what: String) -> BadLabel {
    BadLabel {
        label: label.into(),
        what,
    }
}

/// What the agent is told, if there is to be one.
fn agent(labels: &BTreeMap<String, String>) -> Result<Option<AgentUse>, BadLabel> {
    const LABEL: &str = "KEYWAY_AGENT";
    let told = told(labels)?;
    match labels.get(LABEL).map(String::as_str) {
        None | Some("on") => Ok(Some(told)),
        Some("off") if told.needed => Err(bad(
            LABEL,
            "it is off, and other labels tell an agent what to do".into(),
        )),
        Some("off") => Ok(None),
        Some(other) => Err(bad(LABEL, format!("{other:?} is neither on nor off"))),
    }
}

fn told(labels: &BTreeMap<String, String>) -> Result<AgentUse, BadLabel> {
    let mut told = AgentUse::default();
    let mut flag = |name: &str, value: &str| told.flags.extend([name.to_owned(), value.to_owned()]);
    let is_template = |label: &str| label == "KEYWAY_TEMPLATE" || label.starts_with("KEYWAY_TEMPLATE_");
    let mut files = Vec::new();
    for (label, text) in labels.iter().filter(|(label, _)| is_template(label)) {
        let (source, _) = text
            .split_once(':')
            .filter(|(source, file)| source.starts_with('/') && !file.is_empty())
            .ok_or_else(|| bad(label, format!("{text:?} is not SRC:DST with an absolute SRC")))?;
        files.push(source.to_owned());
        flag("--template", text);
    }
    if let Some(file) = labels.get("KEYWAY_CONFIG") {
        if !file.starts_with('/') {
            return Err(bad("KEYWAY_CONFIG", format!("{file:?} is not an absolute path")));
        }
        files.push(file.clone());
        flag("--config", file);
    }
    for (label, name) in [
        ("KEYWAY_ON_CHANGE", "--on-change"),
        ("KEYWAY_CHECK", "--check"),
        ("KEYWAY_ENV_PREFIX", "--env"),
    ] {
        if let Some(text) = labels.get(label) {
            flag(name, text);
        }
    }
    told.files = files;
    told.needed = !told.flags.is_empty();
    Ok(told)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn labels(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect()
    }

    #[test]
    fn labels_tell_the_agent_and_the_deployment_what_to_do() {
        let extension = Extension::of(&labels(&[
            ("KEYWAY_TEMPLATE", "/t/a.hbs:a.conf"),
            ("KEYWAY_TEMPLATE_2", "/t/b.hbs:b.conf"),
            ("KEYWAY_ON_CHANGE", "signal=HUP"),
            ("KEYWAY_DRAIN", "2s"),
            ("KEYWAY_PROGRESS_DEADLINE", "30s"),
            ("KEYWAY_ON_FAILURE", "wait"),
            ("other", "left alone"),
        ]))
        .unwrap();

        let flags = "--template /t/a.hbs:a.conf --template /t/b.hbs:b.conf --on-change signal=HUP";
        let agent = extension.agent.unwrap();
        assert_eq!(agent.flags.join(" "), flags);
        assert_eq!(
            (&agent.files[..], agent.needed),
            (&["/t/a.hbs".into(), "/t/b.hbs".into()][..], true)
        );
        assert_eq!(extension.drain, Duration::from_secs(2));
        assert_eq!(extension.progress_deadline, Some(Duration::from_secs(30)));
        assert_eq!(extension.on_failure, OnFailure::Wait);
    }

    #[test]
    fn without_labels_a_deployment_that_stands_still_is_rolled_back() {
        let none = Extension::of(&labels(&[])).unwrap();
        let balanced = Extension::of(&labels(&[("HAPROXY_GROUP", "external")])).unwrap();

        assert_eq!((none.drain, balanced.drain), (Duration::ZERO, DRAIN));
        assert_eq!(none.progress_deadline, Some(PROGRESS_DEADLINE));
        assert_eq!(none.on_failure, OnFailure::Rollback);
        let ever = Extension::of(&labels(&[("KEYWAY_PROGRESS_DEADLINE", "0s")])).unwrap();
        assert_eq!(ever.progress_deadline, None);
    }

    #[test]
    fn every_instance_has_an_agent_unless_its_app_wants_none() {
        let agent = |of: &[(&str, &str)]| Extension::of(&labels(of)).unwrap().agent;

        assert_eq!(agent(&[]), Some(AgentUse::default()));
        assert_eq!(agent(&[("KEYWAY_AGENT", "on")]), Some(AgentUse::default()));
        assert_eq!(agent(&[("KEYWAY_AGENT", "off")]), None);
        let both = [("KEYWAY_AGENT", "off"), ("KEYWAY_ON_CHANGE", "restart")];
        assert_eq!(Extension::of(&labels(&both)).unwrap_err().label, "KEYWAY_AGENT");
    }

    /// The labels are those whose names stand in the code above; of a family `KEYWAY_X_` stands for `KEYWAY_X_*`.
    #[test]
    fn every_label_has_its_row_in_the_documentation() {
        let code = include_str!("extension.rs").split("#[cfg(test)]").next().unwrap();
        let texts = code.split('"').filter(|text| text.starts_with("KEYWAY_"));
        let known: BTreeSet<&str> = texts.collect();
        let page = include_str!("../../docs/marathon.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `KEYWAY_"));
        let firsts = rows.filter_map(|row| row.split(" | ").next());
        let names = firsts.flat_map(|cell| cell.split("`, `KEYWAY_"));
        let told: BTreeSet<String> = names
            .map(|name| format!("KEYWAY_{}", name.trim_end_matches(['`', '*'])))
            .collect();

        assert!(known.len() > 8, "{known:?}");
        assert_eq!(told.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    }

    #[test]
    fn a_label_that_is_not_understood_is_named() {
        for (label, text) in [
            ("KEYWAY_TEMPLATE", "a.hbs:a.conf"),
            ("KEYWAY_TEMPLATE_1", "/a.hbs"),
            ("KEYWAY_CONFIG", "agent.toml"),
            ("KEYWAY_DRAIN", "2"),
            ("KEYWAY_AGENT", "no"),
            ("KEYWAY_ON_FAILURE", "retry"),
        ] {
            assert_eq!(Extension::of(&labels(&[(label, text)])).unwrap_err().label, label);
        }
    }
}
