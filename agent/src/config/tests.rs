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
        check = "nginx -t -c {}"
        [[set]]
        dir = "/etc/app/current"
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
    assert_eq!(config.templates[0].mode, Some(0o640));
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
        ("reload_signal = \"HUP\"", "on_change = \"signal=HUP\""),
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
            "[[template]]\nsource = \"a\"\ndestination = \"-\"",
            "has to become a file",
        ),
        ("[[template]]\ndestination = \"a\"", "either source or contents"),
        (
            "on_change = \"restart\"\n[[template]]\nsource=\"a\"\ndestination=\"b\"",
            "needs a program",
        ),
        (
            "[[template]]\nsource=\"a\"\ndestination=\"b\"\n[[template]]\nsource=\"c\"\ndestination=\"b\"",
            "two templates",
        ),
        (
            "[[set]]\ndir=\"d\"\n[[set.template]]\ncontents=\"\"\ndestination=\"../x\"",
            "inside",
        ),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.what.contains(part), "{}", problem.what);
    }
}

#[test]
fn a_program_without_a_reload_is_restarted() {
    let config = parse("[exec]\ncommand=[\"x\"]\n[[template]]\ncontents=\"\"\ndestination=\"b\"").unwrap();
    assert_eq!(config.policy.on_change, OnChange::Restart);
    assert!(template_flag("a", false).is_err() && template_flag("a:", true).is_err());
}
