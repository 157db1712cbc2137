use std::path::Path;

use nix::sys::signal::Signal;

use super::*;
use crate::policy::OnChange;

fn parse(text: &str) -> Result<Config, Problem> {
    Raw::parse(text, Path::new("/etc/keyway/agent.toml"))?.check(false)
}

#[test]
fn a_whole_file_is_understood() {
    let config = parse(
        r#"
        on_change = "signal=HUP"
        wait = "1s:5s"
        check = "true"
        [exec]
        command = ["nginx", "-g", "daemon off;"]
        kill_signal = "quit"
        kill_timeout = "30s"
        [[template]]
        source = "nginx.conf.hbs"
        destination = "/etc/nginx/nginx.conf"
        perms = "0640"
        user = "www-data"
        group = 33
        backup = true
        create_dirs = false
        dir_mode = "0750"
        check = "nginx -t -c {}"
        [[set]]
        dir = "/etc/app/current"
        dir_mode = "0700"
        [[set.template]]
        contents = "x"
        destination = "sub/app.env"
        "#,
    )
    .unwrap();

    assert_eq!(
        config.templates[0].source,
        Source::File("/etc/keyway/nginx.conf.hbs".into())
    );
    let looks = Looks {
        mode: Some(0o640),
        user: Some(Owner::Name("www-data".into())),
        group: Some(Owner::Number(33)),
        backup: true,
        create_dirs: false,
        dir_mode: Some(0o750),
    };
    assert_eq!(config.templates[0].looks, looks);
    assert_eq!(config.sets[0].dir_mode, Some(0o700));
    assert_eq!(config.shown(1), "/etc/app/current/sub/app.env");
    assert_eq!(config.policy.kill_signal, Signal::SIGQUIT);
    assert!(config.state_dir.starts_with("/etc/nginx/"));
}

#[test]
fn a_mistake_is_shown_with_its_line() {
    for (text, line, part) in [
        ("\non_chang = \"none\"", "line 2", "on_chang"),
        ("wait = \"5\"", "line 1", "not a duration"),
        ("[exec]\ncommand = []\nkill_signal = \"NO\"", "line 3", "not a signal"),
        (
            "[[template]]\nsource = \"a\"\ndestination = \"b\"\nperms = \"rw\"",
            "line 4",
            "octal",
        ),
        (
            "[[template]]\nsource = \"a\"\ndestination = \"b\"\nuser = \"a:b\"",
            "line 4",
            "is no name",
        ),
        (
            "[[template]]\nsource = \"a\"\ndestination = \"b\"\ngroup = true",
            "line 4",
            "a name, or a number",
        ),
    ] {
        let problem = parse(text).unwrap_err();
        assert_eq!(problem.code, exit::INVALID);
        assert!(
            problem.what.contains(line) && problem.what.contains(part),
            "{}",
            problem.what
        );
        assert!(problem.what.contains("agent.toml"));
    }
}

#[test]
fn an_unknown_entry_names_the_one_that_was_meant() {
    for (text, help) in [
        ("on_chang = \"none\"", "did you mean `on_change`?"),
        ("[[template]]\nperm = \"0600\"", "did you mean `perms`?"),
        ("[exec]\nreload_signal = \"HUP\"", "on_change = \"signal=HUP\""),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(
            problem.help.iter().any(|told| told.contains(help)),
            "{:?}",
            problem.help
        );
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (text, part) in [
        ("", "no template"),
        (
            "max_stale = \"1h\"\n[[template]]\ncontents=\"\"\ndestination=\"b\"",
            "how old a cache may be",
        ),
        (
            "[[template]]\nsource = \"a\"\ndestination = \"-\"",
            "has to become a file",
        ),
        ("[[template]]\ndestination = \"a\"", "either source or contents"),
        (
            "[confirm]\n[[template]]\ncontents=\"\"\ndestination=\"b\"",
            "asks nobody",
        ),
        (
            "[confirm]\ncommand=\"x\"\nattempts=0\n[[template]]\ncontents=\"\"\ndestination=\"b\"",
            "asks nobody",
        ),
        (
            "[confirm]\ncommand=\"x\"\nhttp=\"http://a/\"\n[[template]]\ncontents=\"\"\ndestination=\"b\"",
            "has a command and",
        ),
        (
            "on_change = \"restart\"\n[[template]]\nsource=\"a\"\ndestination=\"b\"",
            "needs a program",
        ),
        (
            "[[template]]\nsource=\"a\"\ndestination=\"b\"\n[[template]]\nsource=\"c\"\ndestination=\"b\"",
            "two templates",
        ),
        (
            "[exec]\ncommand=[\"x\"]\n[exec.env.names]\nA-B=\"k\"",
            "`A-B` is no name",
        ),
        ("[exec]\ncommand=[\"x\"]\n[exec.env.custom]\n1=\"k\"", "`1` is no name"),
        (
            "[exec]\ncommand=[\"x\"]\n[exec.env]\nprefix=[\"/\"]",
            "path of a folder",
        ),
        ("[exec.env]\nprefix=[\"app\"]", "need a program"),
        (
            "[[set]]\ndir=\"d\"\n[[set.template]]\ncontents=\"\"\ndestination=\"../x\"",
            "inside",
        ),
        (
            "[[set]]\ndir=\"d\"\n[[set.template]]\ncontents=\"\"\ndestination=\"x\"\nbackup=true",
            "backup does not fit",
        ),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.what.contains(part), "{}", problem.what);
    }
}

#[test]
fn variables_from_keys_need_no_template() {
    let of = |text: &str| {
        let mut raw = Raw::parse(text, Path::new("/etc/keyway/agent.toml")).unwrap();
        raw.here = Some("/here".into());
        raw.check(false).unwrap()
    };
    let one = of("[exec]\ncommand=[\"x\"]\n[exec.env]\nprefix=[\"app/env/\"]");
    assert_eq!((one.environment_id(), one.texts()), (Some(0), 1));
    assert!(one.state_dir.starts_with("/here") && one.environment.restarts);
    let other = of("[exec]\ncommand=[\"y\"]\n[exec.env]\nprefix=[\"app/env\"]");
    assert_ne!(one.state_dir, other.state_dir);
    assert_eq!(one.environment, other.environment);
}

#[test]
fn a_program_needs_no_template() {
    let config = parse("[exec]\ncommand=[\"x\"]").unwrap();
    assert_eq!(config.texts(), 0);
    assert!(config.policy.supervises);
}

#[test]
fn a_program_without_a_reload_is_restarted() {
    let config = parse("[exec]\ncommand=[\"x\"]\n[[template]]\ncontents=\"\"\ndestination=\"b\"").unwrap();
    assert_eq!(config.policy.on_change, OnChange::Restart);
    assert!(template_flag("a", false).is_err() && template_flag("a:", true).is_err());
}

/// Entries that each say one thing, in two ways.
const ENTRIES: &[[&str; 2]] = &[
    ["on_change = \"none\"", "on_change = \"restart\""],
    ["check = \"true\"", "check = [\"x\", \"{}\"]"],
    ["command_timeout = \"1s\"", "command_timeout = \"2s\""],
    ["missing = \"fail\"", "missing = \"wait\""],
    ["wait = \"1s\"", "wait = \"2s:3s\""],
    ["settle = \"1s\"", "settle = \"2s\""],
    ["splay = \"1s\"", "splay = \"2s\""],
    ["confirm.command = \"a\"", "confirm.http = \"http://b/\""],
    ["partials = \"a\"", "partials = \"b\""],
    ["status = \"a\"", "status = \"b\""],
    ["listen = \"127.0.0.1:1\"", "listen = \"localhost:2\""],
    ["insecure_listen = true", "insecure_listen = false"],
    ["report = true", "report = false"],
    ["name = \"a\"", "name = \"b/c\""],
    ["pid_file = \"a\"", "pid_file = \"b\""],
    ["ready_file = \"a\"", "ready_file = \"b\""],
    ["exit_file = \"a\"", "exit_file = \"b\""],
    ["state_dir = \"a\"", "state_dir = \"b\""],
    ["cache_dir = \"a\"", "cache_dir = \"b\""],
    ["max_stale = \"1h\"", "max_stale = \"2h\""],
    ["retry_for = \"1s\"", "retry_for = \"0\""],
    ["sandbox = \"a\"", "sandbox = \"b\""],
    ["deny_helpers = [\"a\"]", "deny_helpers = [\"b\", \"c\"]"],
    ["exec.command = [\"a\"]", "exec.command = [\"b\", \"c\"]"],
    ["exec.kill_signal = \"INT\"", "exec.kill_signal = \"QUIT\""],
    ["exec.kill_timeout = \"1s\"", "exec.kill_timeout = \"2s\""],
    ["reload_signal = \"USR1\"", "reload_signal = \"none\""],
    [
        "exec.map_signal = {USR2 = \"HUP\"}",
        "exec.map_signal = {USR2 = \"none\"}",
    ],
    ["exec.restart = \"always\"", "exec.restart = \"never\""],
    ["exec.env.prefix = [\"a\"]", "exec.env.prefix = [\"b\", \"c\"]"],
    ["exec.env.names = {A = \"a\"}", "exec.env.names = {A = \"b\"}"],
    ["exec.env.upper = true", "exec.env.upper = false"],
    ["exec.env.on_change = \"none\"", "exec.env.on_change = \"restart\""],
    ["exec.env.pristine = true", "exec.env.pristine = false"],
    ["exec.env.custom = {A = \"a\"}", "exec.env.custom = {A = \"bc\"}"],
    ["exec.env.allow = [\"a\"]", "exec.env.allow = [\"b\", \"c\"]"],
    ["exec.env.deny = [\"a\"]", "exec.env.deny = [\"b\", \"c\"]"],
    [
        "template = [{source = \"a\", destination = \"a\"}]",
        "template = [{contents = \"\", destination = \"b\"}]",
    ],
    [
        "set = [{dir = \"a\", template = []}]",
        "set = [{dir = \"b\", template = []}]",
    ],
];

fn merged(parts: &[Raw]) -> Raw {
    let mut all = Raw::default();
    parts.iter().for_each(|part| all.merge(part.clone()));
    all
}

fn raw(choices: &[u8]) -> Raw {
    let said = choices.iter().zip(ENTRIES).filter(|(choice, _)| **choice > 0);
    let lines: Vec<&str> = said.map(|(choice, entry)| entry[usize::from(*choice) - 1]).collect();
    Raw::parse(&lines.join("\n"), Path::new("/etc/keyway/agent.toml")).unwrap()
}

#[test]
fn each_entry_is_taken_over_and_the_later_file_wins_or_its_list_is_appended() {
    for (place, entry) in ENTRIES.iter().enumerate() {
        let one = |choice: u8| {
            let mut choices = vec![0; ENTRIES.len()];
            choices[place] = choice;
            raw(&choices)
        };
        let told = |raw: &Raw| format!("{raw:?}");
        let (first, second, both) = (one(1), one(2), merged(&[one(1), one(2)]));
        assert_ne!(told(&first), told(&Raw::default()), "{entry:?}");
        assert_eq!(
            told(&merged(&[first, Raw::default()])),
            told(&one(1)),
            "what is not said changes nothing"
        );
        let list = [
            "deny_helpers",
            "template",
            "set =",
            "exec.env.prefix",
            "exec.env.allow",
            "exec.env.deny",
        ]
        .iter()
        .any(|name| entry[0].starts_with(name));
        assert_eq!(told(&both) == told(&second), !list, "{entry:?}");
        if list {
            let env = |raw: &Raw| raw.exec.env.prefix.len() + raw.exec.env.allow.len() + raw.exec.env.deny.len();
            let lengths = |raw: &Raw| raw.deny_helpers.len() + raw.template.len() + raw.set.len() + env(raw);
            assert_eq!(lengths(&both), lengths(&one(1)) + lengths(&one(2)), "{entry:?}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn it_does_not_matter_which_files_are_taken_together_first(
        choices in proptest::collection::vec(proptest::collection::vec(0u8..3, ENTRIES.len()), 3),
    ) {
        let [a, b, c] = [0, 1, 2].map(|place: usize| raw(&choices[place]));
        let left = merged(&[merged(&[a.clone(), b.clone()]), c.clone()]);
        let right = merged(&[a, merged(&[b, c])]);
        proptest::prop_assert_eq!(format!("{left:?}"), format!("{right:?}"));
    }
}
