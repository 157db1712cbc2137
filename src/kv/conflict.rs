//! What to say to someone who expected something else: what is there now, who put it there, and the
//! commands to see it and to go on.

use kvapi::codes;
use kvapi::types::Change;
use kvapi::{Consistency, Key, Problem, Revision};

use super::past;
use super::shown::plain;
use super::target::Target;
use crate::context::Context;
use crate::output::moment;

/// What a write expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// The key at this revision; 0 means no such key.
    Revision(u64),
    /// A value that it has not.
    Value,
}

/// The problem; `retry` is the command without its condition, or nothing if there is no use in it.
pub(super) async fn lost(context: &Context<'_>, key: &Key, expected: Expected, retry: &[String]) -> Problem {
    let now = context.client.get(key.as_str(), Consistency::Default).await;
    let Ok(now) = now else {
        return Problem::of(&codes::CHANGED, format!("`{key}` is not what you expected"))
            .help(format!("look at it with   keyway kv get -o json {key}"));
    };
    let now = now.value.map(|entry| entry.modify_index);
    let last = past::newest(&context.client, &Target::Key(key.clone())).await.ok();
    let last = last
        .flatten()
        .filter(|change| now.is_none_or(|now| now == change.revision));
    told(key, expected, now, last.as_ref(), retry)
}

fn told(key: &Key, expected: Expected, now: Option<Revision>, last: Option<&Change>, retry: &[String]) -> Problem {
    let who = last.map_or_else(String::new, by);
    let again = |flags: &str| {
        let words = shlex::try_join(retry.iter().map(String::as_str));
        words
            .ok()
            .filter(|text| !text.is_empty())
            .map(|text| format!("{text} {flags}"))
    };
    let (what, see, again) = match (expected, now) {
        (Expected::Revision(0), Some(now)) => (
            format!("`{key}` is there already, at revision {now}{who}"),
            format!("keyway kv get {key}"),
            again(&format!("--if-rev {now}")),
        ),
        (Expected::Revision(expected), Some(now)) => (
            format!("`{key}` was changed by someone else: you expected revision {expected}, it is now {now}{who}"),
            if expected < now.0 {
                format!("keyway kv diff {key} --rev {expected}..{now}")
            } else {
                format!("keyway kv history {key}")
            },
            again(&format!("--if-rev {now}")),
        ),
        (Expected::Value, Some(now)) => (
            format!("`{key}` has another value than you expected, since revision {now}{who}"),
            format!("keyway kv get {key}"),
            again(&format!("--if-rev {now}")),
        ),
        (_, None) => (
            match last {
                Some(change) => format!("`{key}` is gone: it was deleted at revision {}{who}", change.revision),
                None => format!("there is no key `{key}`"),
            },
            format!("keyway kv history {key}"),
            again("--create"),
        ),
    };
    let kind = match (expected, now) {
        (Expected::Revision(0), Some(_)) => &codes::EXISTS,
        _ => &codes::CHANGED,
    };
    let problem = Problem::of(kind, what).help(format!("see it with     {see}"));
    match again {
        Some(again) => problem.help(format!("go on with      {again}")),
        None => problem,
    }
}

/// Who made a change as they claim, when and why: ` (claimed by alice@ci, 12s ago, "open 8443")`.
pub(super) fn by(change: &Change) -> String {
    let author = change.author.as_deref();
    let author = author.map(|author| format!("claimed by {}", plain(author)));
    let message = change.message.as_ref().map(|message| format!("{message:?}"));
    let parts: Vec<String> = [author, Some(moment::ago(change.at)), message]
        .into_iter()
        .flatten()
        .collect();
    format!(" ({})", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64) -> Change {
        Change {
            revision: Revision(revision),
            at: u64::MAX,
            author: Some("alice@ci".into()),
            message: Some("open 8443".into()),
            changes: Vec::new(),
            omitted: 0,
        }
    }

    fn said(expected: Expected, now: Option<u64>, retry: &str) -> String {
        let retry: Vec<String> = retry.split_whitespace().map(str::to_owned).collect();
        let key = Key::new("app/port").unwrap();
        told(&key, expected, now.map(Revision), Some(&change(851)), &retry).to_string()
    }

    #[test]
    fn it_names_who_was_faster_and_the_next_commands() {
        let said = said(Expected::Revision(844), Some(851), "keyway kv put app/port 8443");

        assert!(
            said.contains("you expected revision 844, it is now 851 (claimed by alice@ci, "),
            "{said}"
        );
        assert!(said.contains("\"open 8443\")"), "{said}");
        assert!(said.contains("keyway kv diff app/port --rev 844..851"), "{said}");
        assert!(said.contains("keyway kv put app/port 8443 --if-rev 851"), "{said}");
    }

    #[test]
    fn what_is_there_and_what_is_gone_is_told_as_such() {
        let there = said(Expected::Revision(0), Some(851), "keyway kv put app/port 1");
        assert!(there.contains("is there already, at revision 851"), "{there}");
        let gone = said(Expected::Revision(844), None, "keyway kv put app/port 1");
        assert!(gone.contains("deleted at revision 851"), "{gone}");
        assert!(gone.contains("app/port 1 --create"), "{gone}");
        let other = said(Expected::Value, Some(851), "");
        assert!(other.contains("another value") && !other.contains("go on"), "{other}");
    }
}
