//! Lets the single-dash long flags of `consul kv` (`-recurse`, `-modify-index=844`) through clap.
//!
//! Arguments in, arguments out, by clap's own tree of commands: `-name` becomes `--name` only where
//! the command at hand has a flag of that name. Values stay as they are: a lone `-`, a number such
//! as `-5`, what follows a flag that takes a value, and everything behind `--` or behind the first
//! word of a command to run.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command};

/// The arguments as clap wants them; `root` must be built, so that its global flags are everywhere.
pub(crate) fn normalise(root: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = args.next().into_iter().collect();
    let mut command = root;
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str() else {
            out.push(arg);
            continue;
        };
        let seen = look(command, text);
        let stop = matches!(seen, Seen::RestIsVerbatim);
        let value_follows = match seen {
            Seen::Rewritten { text, value_follows } => {
                out.extend(text.map(OsString::from));
                value_follows
            }
            Seen::AsIs { value_follows } => {
                out.push(arg);
                value_follows
            }
            Seen::Subcommand(sub) => {
                command = sub;
                out.push(arg);
                false
            }
            Seen::RestIsVerbatim => {
                out.push(arg);
                false
            }
        };
        if stop {
            out.extend(args.by_ref());
        } else if value_follows {
            out.extend(args.next());
        }
    }
    out
}

/// Adds the remedy to clap's complaint about `--cas 0`: the revision is in a flag of its own, as in
/// `consul kv`. And names `-datacenter` as a whole, where clap has only come to `-d`. `args` are those of [`normalise`].
pub(crate) fn explain(error: &mut clap::Error, args: &[OsString]) {
    if !matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::TooManyValues) {
        return;
    }
    let refused = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(refused)) => refused.clone(),
        _ => String::new(),
    };
    let is_short = refused.len() > 1 && refused.starts_with('-') && !refused.starts_with("--");
    let whole = args.iter().filter_map(|arg| arg.to_str()).find(|arg| {
        let name = arg.split('=').next().unwrap_or_default();
        is_short && name.len() > refused.len() && name.starts_with(&refused)
    });
    if let Some(whole) = whole {
        let whole = whole.split('=').next().unwrap_or_default();
        let tip = format!("to pass '{whole}' as a value, write it behind '--'");
        error.insert(ContextKind::InvalidArg, ContextValue::String(whole.to_owned()));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        return;
    }
    let flags: Vec<&str> = args
        .iter()
        .map_while(|arg| arg.to_str().filter(|&arg| arg != "--"))
        .collect();
    let joined = flags.iter().find_map(|arg| arg.strip_prefix("--cas="));
    let apart = flags.windows(2).find(|pair| pair[0] == "--cas").map(|pair| pair[1]);
    if let Some(revision) = joined.or(apart).filter(|text| text.parse::<u64>().is_ok()) {
        let tip = format!("--cas takes no value; write --cas --modify-index {revision}, or --if-rev {revision}");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
}

/// What one argument is, seen from the command it stands in.
enum Seen<'a> {
    /// A flag in another spelling; `None` if it says nothing (`-cas=false`).
    Rewritten {
        text: Option<String>,
        value_follows: bool,
    },
    AsIs {
        value_follows: bool,
    },
    Subcommand(&'a Command),
    RestIsVerbatim,
}

fn look<'a>(command: &'a Command, text: &str) -> Seen<'a> {
    if text == "--" {
        return Seen::RestIsVerbatim;
    }
    if let Some(long) = text.strip_prefix("--") {
        let value_follows = !long.contains('=') && long_takes_value(command, long) == Some(true);
        return Seen::AsIs { value_follows };
    }
    match text.strip_prefix('-') {
        Some(name) if !name.is_empty() => single_dash(command, name),
        _ => word(command, text),
    }
}

/// `-name`, `-name=value`, or short flags in a cluster.
fn single_dash<'a>(command: &'a Command, text: &str) -> Seen<'a> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    if name.chars().count() == 1 {
        return Seen::AsIs {
            value_follows: value.is_none() && last_short_takes_value(command, name),
        };
    }
    let rewritten = |text: Option<String>| Seen::Rewritten {
        text,
        value_follows: false,
    };
    if name == "http-addr" && long_takes_value(command, name).is_none() {
        // What it is called here; `keyway server` has one of its own.
        return single_dash(command, &text.replacen("http-addr", "addr", 1));
    }
    // Clap would take it for -h, show the help, and a script would take that for success.
    if name.starts_with('h') && long_takes_value(command, name).is_none() {
        return rewritten(Some(format!("--{text}")));
    }
    match (long_takes_value(command, name), value) {
        (Some(true), Some(value)) => rewritten(Some(format!("--{name}={value}"))),
        (Some(true), None) => Seen::Rewritten {
            text: Some(format!("--{name}")),
            value_follows: true,
        },
        // Go's flags take `-cas=true`, clap's switches take nothing.
        (Some(false), Some("true" | "1") | None) => rewritten(Some(format!("--{name}"))),
        (Some(false), Some("false" | "0")) => rewritten(None),
        (Some(false), Some(value)) => rewritten(Some(format!("--{name}={value}"))),
        (None, _) => Seen::AsIs {
            value_follows: last_short_takes_value(command, text),
        },
    }
}

fn word<'a>(command: &'a Command, text: &str) -> Seen<'a> {
    if let Some(sub) = command.find_subcommand(text) {
        return Seen::Subcommand(sub);
    }
    if command.get_positionals().any(clap::Arg::is_trailing_var_arg_set) {
        return Seen::RestIsVerbatim;
    }
    Seen::AsIs { value_follows: false }
}

/// Whether the long flag takes a value; `None` if there is no such flag.
fn long_takes_value(command: &Command, name: &str) -> Option<bool> {
    command
        .get_arguments()
        .find(|arg| {
            arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        })
        .map(takes_value)
}

/// Whether the last of a cluster of short flags waits for a value: none before it did.
fn last_short_takes_value(command: &Command, cluster: &str) -> bool {
    let mut letters = cluster.chars().peekable();
    while let Some(letter) = letters.next() {
        let takes = command
            .get_arguments()
            .find(|arg| arg.get_short() == Some(letter))
            .is_some_and(takes_value);
        if takes {
            return letters.peek().is_none();
        }
    }
    false
}

/// Whether a value follows as a word of its own; `--wait=5s` has its value within.
fn takes_value(arg: &clap::Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn check(given: &str, wanted: &str) {
        let mut root = crate::cli::Cli::command();
        root.build();

        let out = normalise(&root, given.split(' ').map(OsString::from));

        let out: Vec<String> = out.into_iter().map(|arg| arg.into_string().unwrap()).collect();
        assert_eq!(out.join(" "), wanted, "{given}");
    }

    #[test]
    fn every_flag_of_consul_kv_is_understood_with_one_dash() {
        check("k kv get -recurse app/", "k kv get --recurse app/");
        check("k kv get -keys -separator=/ a", "k kv get --keys --separator=/ a");
        check("k kv get -separator -x a", "k kv get --separator -x a");
        check("k kv get -detailed -stale a", "k kv get --detailed --stale a");
        check(
            "k kv put -cas -modify-index=844 -flags=7 a 1",
            "k kv put --cas --modify-index=844 --flags=7 a 1",
        );
        check("k kv put -cas=true a -", "k kv put --cas a -");
        check("k kv put -cas=false a b", "k kv put a b");
        check("k kv delete -recurse a", "k kv delete --recurse a");
    }

    #[test]
    fn what_is_a_value_stays_a_value() {
        check("k kv put k -5", "k kv put k -5");
        check("k kv put k -", "k kv put k -");
        check("k kv put k -- -cas", "k kv put k -- -cas");
        check("k kv put -m -cas k v", "k kv put -m -cas k v");
        check("k kv put --message -cas k v", "k kv put --message -cas k v");
    }

    #[test]
    fn global_flags_are_known_before_and_behind_the_command() {
        check(
            "k -addr http://a kv -output=json get -o json a",
            "k --addr http://a kv --output=json get -o json a",
        );
        check("k -o kv kv get a", "k -o kv kv get a");
        check("k -qv kv ls -lr", "k -qv kv ls -lr");
    }

    #[test]
    fn a_revision_behind_cas_is_sent_to_its_own_flag() {
        for (given, remedy) in [
            ("k kv put a/b 5 --cas 0", Some("--cas --modify-index 0")),
            ("k kv put -cas 844 a/b 5", Some("--if-rev 844")),
            ("k kv put --cas=844 a/b 5", Some("--if-rev 844")),
            ("k kv put a b c", None),
            ("k kv put a b c -- --cas 0", None),
        ] {
            let root = crate::cli::command();
            let args = normalise(&root, given.split(' ').map(OsString::from));
            let mut error = root.try_get_matches_from(&args).unwrap_err();

            explain(&mut error, &args);

            let said = error.to_string();
            match remedy {
                Some(remedy) => assert!(said.contains(remedy), "{given}: {said}"),
                None => assert!(!said.contains("--modify-index"), "{given}: {said}"),
            }
        }
    }

    fn complaint(given: &str) -> String {
        let root = crate::cli::command();
        let args = normalise(&root, given.split(' ').map(OsString::from));
        let mut error = root.try_get_matches_from(&args).unwrap_err();
        assert!(error.use_stderr(), "{given} is a mistake: {error}");
        explain(&mut error, &args);
        error.to_string()
    }

    #[test]
    fn an_unknown_flag_with_one_dash_is_named_as_it_was_typed() {
        check("k kv get -recurze a", "k kv get -recurze a");
        check("k kv put -acquire -session=x a 1", "k kv put --acquire --session=x a 1");
        let said = complaint("k kv get -datacenter=dc1 a");
        assert!(
            said.contains("'-datacenter' found") && said.contains("behind '--'"),
            "{said}"
        );
    }

    #[test]
    fn a_word_that_begins_with_h_is_no_cry_for_help() {
        check("k kv get -http-addr=http://a a", "k kv get --addr=http://a a");
        check("k kv get -http-addr http://a a", "k kv get --addr http://a a");
        check("k server -http-addr 127.0.0.1:0", "k server --http-addr 127.0.0.1:0");
        check("k kv get -h", "k kv get -h");
        for mistake in ["k kv put -hold a 1", "k kv put -http-adr=x a 1"] {
            assert!(complaint(mistake).contains("unexpected argument '--h"), "{mistake}");
        }
        check("k kv get -help", "k kv get --help");
    }
}
