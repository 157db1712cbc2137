//! "Did you mean", for entries of a configuration that nobody knows.

use crate::nearest;

/// Names of consul-template's, and what they are here.
const THEIRS: &[(&str, &str)] = &[
    (
        "block_query_wait",
        "there is one stream that stays open; nothing replaces it",
    ),
    ("command", "in a template it is `on_change = \"command=...\"`"),
    (
        "consul",
        "the servers are given by --addr or KEYWAY_ADDR, the token by KEYWAY_TOKEN",
    ),
    ("create_dest_dirs", "`create_dirs`"),
    ("allowlist", "`allow`, in [exec.env]"),
    ("deduplicate", "there is one stream for each agent; nothing replaces it"),
    ("denylist", "`deny`, in [exec.env]"),
    ("default_delimiters", "Handlebars' are fixed; `\\{{` prints two braces"),
    ("err_on_failed_lookup", "`missing = \"fail\"`"),
    ("error_on_missing_key", "`missing = \"fail\"`, at the top"),
    ("function_denylist", "`deny_helpers`, at the top"),
    ("kill_signal", "it stands in [exec]"),
    ("kill_timeout", "it stands in [exec]"),
    ("left_delimiter", "Handlebars' are fixed; `\\{{` prints two braces"),
    ("log_level", "-v, or KEYWAY_LOG"),
    ("once", "`agent once`"),
    ("parse_only", "`agent validate`"),
    ("retry", "`retry_for`, at the top"),
    ("reload_signal", "`on_change = \"signal=HUP\"`, at the top"),
    ("right_delimiter", "Handlebars' are fixed; `\\{{` prints two braces"),
    ("vault", "there are no secrets of Vault here"),
];

/// Names that many tools have, and what they are here.
const MEANT: &[(&str, &str)] = &[("cmd", "command"), ("mode", "perms")];

/// What to do about a parser's message, if it is about an unknown entry.
pub(super) fn help(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = message.starts_with("unknown field").then(|| quoted.next()).flatten()?;
    let known: Vec<&str> = quoted.collect();
    let meant = MEANT.iter().find(|(name, ours)| *name == wrong && known.contains(ours));
    let near = nearest::of(wrong, known.iter().copied());
    if let Some(near) = meant.map(|(_, ours)| *ours).or(near) {
        return Some(format!("did you mean `{near}`?"));
    }
    let theirs = THEIRS.iter().find(|(name, _)| *name == wrong);
    theirs.map(|(name, ours)| format!("`{name}` is consul-template's; here: {ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_names_the_nearest_and_a_name_of_consul_template_names_ours() {
        let unknown = |name: &str| format!("unknown field `{name}`, expected one of `on_change`, `check`, `wait`");
        assert_eq!(help(&unknown("on_chnage")).unwrap(), "did you mean `on_change`?");
        assert!(help(&unknown("reload_signal")).unwrap().contains("signal=HUP"));
        assert_eq!(help(&unknown("mode")), None, "where there is no such entry");
        assert_eq!(
            help("unknown field `mode`, expected `perms`").unwrap(),
            "did you mean `perms`?"
        );
        assert_eq!(help(&unknown("zebra")), None);
        assert_eq!(help("expected a string"), None);
    }
}
