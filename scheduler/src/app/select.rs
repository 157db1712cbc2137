//! Which apps a list is to have: `cmd`, `id` and `label` of `GET /v2/apps`.

use std::collections::{BTreeMap, BTreeSet};

use super::{App, Command};

/// What a label has to be, such as `a==1,b!=2,c in (x,y),d`: all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    label: String,
    demand: Demand,
}

/// Each of them only holds for a label that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Demand {
    Exists,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no selector of labels: it is made of a, a==1, a!=1, a in (1,2) and a notin (1,2), with commas between"
)]
pub struct NoSelector(String);

impl Selector {
    pub fn parse(text: &str) -> Result<Self, NoSelector> {
        let terms: Option<Vec<Term>> = terms(text).map(|term| Term::parse(term.trim())).collect();
        terms.map(Self).ok_or_else(|| NoSelector(text.into()))
    }

    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| {
            let value = labels.get(&term.label);
            value.is_some_and(|value| match &term.demand {
                Demand::Exists => true,
                Demand::In(values) => values.contains(value),
                Demand::NotIn(values) => !values.contains(value),
            })
        })
    }
}

/// What is between the commas that are not in parentheses.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c| {
        inside = (inside || c == '(') && c != ')';
        c == ',' && !inside
    })
}

impl Term {
    fn parse(text: &str) -> Option<Self> {
        let one = |value: &str| word(value).map(|value| [value].into());
        let (label, demand) = if let Some((label, value)) = text.split_once("==") {
            (label, Demand::In(one(value)?))
        } else if let Some((label, value)) = text.split_once("!=") {
            (label, Demand::NotIn(one(value)?))
        } else if let Some((label, rest)) = text.split_once(char::is_whitespace) {
            let (operator, values) = rest.split_once('(')?;
            let values = values.strip_suffix(')')?.split(',').map(word).collect::<Option<_>>()?;
            match operator.trim() {
                "in" => (label, Demand::In(values)),
                "notin" => (label, Demand::NotIn(values)),
                _ => return None,
            }
        } else {
            (text, Demand::Exists)
        };
        let label = word(label)?;
        Some(Self { label, demand })
    }
}

/// A label or a value: one word.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@');
    (!text.is_empty() && text.chars().all(is_part)).then(|| text.into())
}

impl App {
    /// Whether its id has this text in it, in capitals or not.
    #[must_use]
    pub fn id_has(&self, text: &str) -> bool {
        has(self.id.as_str(), text)
    }

    /// Whether what it starts has this text in it, in capitals or not.
    #[must_use]
    pub fn command_has(&self, text: &str) -> bool {
        match &self.command {
            Some(Command::Shell(line)) => has(line, text),
            Some(Command::Args(args)) => args.iter().any(|arg| has(arg, text)),
            None => false,
        }
    }
}

fn has(whole: &str, text: &str) -> bool {
    whole.to_lowercase().contains(&text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::app::tests::app;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn case_9_all_four_kinds_have_to_hold() {
        let all = [("a", "1"), ("b", "3"), ("c", "y"), ("d", "")];
        for selector in [
            "a==1,b!=2,c in (x,y),d",
            " a == 1 , b != 2 ,c in( x , y ), d ",
            "c notin (x,z)",
        ] {
            assert!(matches(selector, &all), "{selector}");
        }
        for selector in [
            "a==2",
            "b!=3",
            "c in (x,z)",
            "e",
            "a==1,e",
            "c notin (x,y)",
            "a==1,a==2",
        ] {
            assert!(!matches(selector, &all), "{selector}");
        }
    }

    #[test]
    fn case_9_an_app_without_the_label_matches_nothing_said_of_it() {
        for selector in ["b!=2", "b notin (2)", "b", "b==2"] {
            assert!(!matches(selector, &[("a", "1")]), "{selector}");
        }
    }

    #[test]
    fn case_9_ids_and_commands_are_searched_in_capitals_or_not() {
        let web = app(&json!({ "id": "/shop/web", "cmd": "Sleep 10" }));
        assert!(web.id_has("SHOP") && web.id_has("p/w") && !web.id_has("db"));
        assert!(web.command_has("sLEEP 1") && !web.command_has("wake"));
        let args = app(&json!({ "args": ["/bin/web", "--Port"] }));
        assert!(args.command_has("port") && !args.command_has("web --port"));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "",
            ",",
            "a,",
            "==1",
            "a==",
            "a in",
            "a in (",
            "a in ()",
            "a near (b)",
            "a b",
            "a==b==c",
        ] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_an_error(text in "[abin=!(), ]{0,16}") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert!(!selector.matches(&BTreeMap::new()));
            }
        }
    }
}
