use std::time::Duration;

use super::*;
use crate::core::state::Counts;

fn state(templates: Vec<TemplateState>) -> State {
    State {
        cluster: String::new(),
        seen: None,
        rendered: None,
        applied: None,
        link: Link::Connecting,
        link_since: None,
        link_reason: None,
        templates,
        variables: None,
        cached: None,
        waiting: None,
        child: None,
        child_since: None,
        last_exit: None,
        refusal: None,
        trouble: None,
        ready: true,
        ending: false,
        counts: Counts::default(),
    }
}

fn template(standing: Standing) -> TemplateState {
    TemplateState {
        destination: "/etc/a/very/long/path/of/a/file".to_owned(),
        standing,
        since: None,
        revisions: None,
        text: Some("text".into()),
    }
}

fn of(state: &State) -> Status {
    let now = Instant::now();
    let agent = About {
        name: "web-1".to_owned(),
        version: "1".to_owned(),
        pid: 1,
        since: String::new(),
    };
    let when = |at: Instant| format!("{:?}", at.saturating_duration_since(now));
    let facts = Facts {
        agent,
        address: None,
        child: None,
        now,
        when: &when,
    };
    Status::of(state, facts)
}

#[test]
fn the_whole_is_as_good_as_its_worst_part() {
    let broken = || Standing::Broken(String::new());
    let lacks = || Standing::WaitingForKeys(Vec::new());
    for (standings, child, overall) in [
        (vec![], None, Overall::InPlace),
        (vec![Standing::InPlace], Some(ChildState::Running), Overall::InPlace),
        (vec![Standing::InPlace], Some(ChildState::NotStarted), Overall::OnItsWay),
        (vec![Standing::InPlace], Some(ChildState::Pausing), Overall::Failed),
        (vec![Standing::InPlace, Standing::OnItsWay], None, Overall::OnItsWay),
        (vec![lacks(), Standing::OnItsWay], None, Overall::Waiting),
        (vec![lacks(), broken(), Standing::InPlace], None, Overall::Failed),
        (vec![Standing::NotApplied(None)], None, Overall::OnItsWay),
        (vec![Standing::NotApplied(Some(String::new()))], None, Overall::Failed),
        (vec![Standing::PuttingBack], Some(ChildState::Running), Overall::Failed),
    ] {
        let mut state = state(standings.clone().into_iter().map(template).collect());
        state.child = child;
        let status = of(&state);
        assert_eq!(status.state, overall, "{standings:?} {child:?}");
        assert_eq!(status.is_good(), overall == Overall::InPlace);
        state.ending = true;
        assert_eq!(of(&state).state, Overall::Ending);
    }
}

fn variables(names: Vec<String>, standing: Standing) -> VariablesState {
    VariablesState {
        names,
        standing,
        since: None,
        revisions: None,
    }
}

#[test]
fn variables_count_like_a_file_and_a_report_has_room_for_a_part_of_their_names() {
    let mut state = state(vec![template(Standing::InPlace)]);
    let names = (0..100_000).map(|n| format!("NAME_{n}")).collect();
    state.variables = Some(variables(names, Standing::Broken("no name".to_owned())));
    let status = of(&state);
    assert_eq!(status.state, Overall::Failed);
    let told = status.told();
    assert!(told.contains("variables  NAME_0 NAME_1 "), "{told}");
    assert!(
        told.contains(" NAME_9 and 99990 more: broken\n           no name\n"),
        "{told}"
    );

    let text = status.report();

    assert!(text.len() <= LONGEST_REPORT, "{}", text.len());
    let read: Status = serde_json::from_str(&text).unwrap();
    let all = read.variables.unwrap();
    assert!(all.names.len() > 1000);
    assert_eq!(all.names.len() + all.names_omitted, 100_000);
    assert_eq!((read.templates.len(), read.templates_omitted), (0, 1));
}

#[test]
fn a_report_of_many_files_stays_short_and_begins_with_what_is_not_in_place() {
    let many = 20_000;
    let mut templates = vec![template(Standing::InPlace); many];
    templates.push(template(Standing::Broken("no".to_owned())));
    let status = of(&state(templates));
    assert!(status.json().len() > LONGEST_REPORT);

    let text = status.report();

    assert!(
        text.len() <= LONGEST_REPORT && text.len() > LONGEST_REPORT / 4,
        "{}",
        text.len()
    );
    let read: Status = serde_json::from_str(&text).unwrap();
    assert_eq!(read.templates[0].state, "broken");
    assert_eq!(read.templates.len() + read.templates_omitted, many + 1);
    assert_eq!(read.state, Overall::Failed, "it is of all of them");
}

#[test]
fn what_people_read_says_the_same_as_the_document() {
    let now = Instant::now();
    let mark = |settings| Mark {
        revisions: Revisions {
            settings: kvapi::Revision(settings),
            live: kvapi::Revision(9),
        },
        at: now,
    };
    let mut state = state(vec![template(Standing::Refused("port is no number".to_owned()))]);
    state.seen = Some(mark(8));
    state.applied = Some(mark(9));
    state.child = Some(ChildState::Running);
    state.counts.starts = 3;
    state.last_exit = Some(("ended with 1".to_owned(), now));
    state.refusal = Some((mark(8), "port is no number".to_owned()));
    state.trouble = Some(("disk full".to_owned(), 4, Some(now + Duration::from_secs(2))));
    state.variables = Some(variables(vec!["PORT".to_owned(), "HOST".to_owned()], Standing::InPlace));
    state.cached = Some(now + Duration::from_secs(7));
    state.waiting = Some(("values that the check accepts".to_owned(), None));
    let told = of(&state).told();
    for part in [
        "web-1 (1, pid 1)",
        "failed",
        "waits for  values that the check accepts",
        "revision 8 (live 9)",
        "applied    revision 9, at",
        "rendered   nothing",
        "started again 2 times",
        "the last one ended with 1",
        "file: refused",
        "variables  PORT HOST: in place\n",
        "the store has not told yet; it was current at ",
        "revision 8 at",
        "port is no number",
        "disk full (tried 4 times, again at ",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
}
