//! kill -9 at every step of a set's way: at the next start the files are one whole set, whatever else is
//! there, and the reload that is owed happens.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::scene::Scene;

/// All files show one partial, so one edit changes them together.
const CONFIG: &str = r#"
partials = "parts"
settle = "1ms"
pid_file = "pid"
on_change = "command=! grep -q bad a && echo $(cat a b live/c) >> seen"
[[template]]
contents = "{{> p}}"
destination = "a"
backup = true
[[template]]
contents = "{{> p}}"
destination = "b"
[[set]]
dir = "live"
[[set.template]]
contents = "{{> p}}"
destination = "c"
"#;

/// Every place that a set comes by.
const PLACES: [&str; 10] = [
    "staged",
    "checked",
    "promote",
    "noting",
    "noted",
    "step",
    "steps",
    "apply",
    "told",
    "step back",
];

fn shown(scene: &Scene) -> [String; 3] {
    ["a", "b", "live/c"].map(|name| scene.read(name))
}

/// What the last reload saw.
fn seen(scene: &Scene) -> String {
    scene.read("seen").lines().last().unwrap_or_default().to_owned()
}

/// Whether it held before the agent was gone.
fn lives_until(scene: &mut Scene, what: &str, holds: impl Fn(&Scene) -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        if holds(scene) {
            return true;
        }
        if scene.agent.as_mut().unwrap().try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < until, "{what} did not come:\n{}", scene.read("log"));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A first set, a second one, and one that the reload refuses; the text at which the agent was killed.
fn way(scene: &mut Scene, point: &str) -> Option<&'static str> {
    scene.write("parts/p.hbs", "1");
    scene.start_with(&["run", "-c", "agent.toml"], &[("KEYWAY_AGENT_FAILPOINT", point)]);
    if !lives_until(scene, "the first set", |scene| seen(scene) == "111" && applied(scene)) {
        return Some("1");
    }
    scene.write("parts/p.hbs", "2");
    if !lives_until(scene, "the second set", |scene| seen(scene) == "222" && applied(scene)) {
        return Some("2");
    }
    scene.write("parts/p.hbs", "bad");
    let back = |scene: &Scene| scene.read("seen").matches("222").count() == 2 && applied(scene);
    if !lives_until(scene, "the way back", back) {
        return Some("bad");
    }
    None
}

fn state(scene: &Scene, name: &str) -> String {
    let folders = fs::read_dir(scene.dir.path()).unwrap().flatten();
    let mut folders = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(".keyway-agent-"));
    let read = |folder: fs::DirEntry| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    folders.next().map(read).unwrap_or_default()
}

/// Whether the last note says so.
fn applied(scene: &Scene) -> bool {
    let notes = ["journal-0", "journal-1"].map(|name| state(scene, name));
    let number = |note: &String| -> Option<u64> {
        let (_, rest) = note.split_once("\"number\":")?;
        rest.split(',').next()?.parse().ok()
    };
    let last = notes.iter().max_by_key(|note| number(note));
    last.is_some_and(|note| note.contains("\"applied\":true"))
}

/// Starts an agent that cannot render anything, and ends it when it has looked around.
fn start_without_values(scene: &mut Scene) {
    scene.write("parts/p.hbs", "{{key \"not/there\"}}");
    fs::remove_file(scene.path("pid")).ok();
    scene.start(&["run", "-c", "agent.toml"]);
    let pid = format!("{}\n", scene.agent.as_ref().unwrap().id());
    scene.eventually("the start", |scene| scene.read("pid") == pid);
    scene.signal(Signal::SIGTERM);
    scene.exit_code();
}

fn made_up(scene: &Scene) -> Vec<String> {
    let mut folders = vec![scene.dir.path().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ["keyway-new-", "keyway-old-", "keyway-staged-"]
                .iter()
                .any(|made| name.contains(made))
            {
                found.push(name);
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// Kills the agent at one point of its way and looks at what the next start makes of it; the name of the
/// place, or nothing if it comes to no such point.
fn killed_at(point: u64) -> Option<String> {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("parts")).unwrap();
    scene.write("agent.toml", CONFIG);
    let text = match way(&mut scene, &format!(":{point}")) {
        Some(text) => text,
        None => {
            scene.signal(Signal::SIGTERM);
            // The last place of all comes when everything that can be seen from here is over.
            if scene.exit_code() != -1 {
                assert_eq!(made_up(&scene), Vec::<String>::new());
                return None;
            }
            "bad"
        }
    };
    let log = scene.read("log");
    let place = log
        .lines()
        .find_map(|line| line.split("failpoint ").nth(1)?.strip_suffix(": killed"));
    let place = place.unwrap_or_else(|| panic!("it ended otherwise:\n{log}")).to_owned();

    start_without_values(&mut scene);

    let files = shown(&scene);
    assert!(
        files.iter().all(|file| *file == files[0]),
        "{point} {place}: torn: {files:?}\n{}",
        scene.read("log")
    );
    assert_eq!(made_up(&scene), Vec::<String>::new(), "{point} {place}");

    // What the kill was in the way of; a set that the reload refuses is followed by a good one.
    let text = if text == "bad" { "3" } else { text };
    scene.write("parts/p.hbs", text);
    scene.start(&["run", "-c", "agent.toml"]);
    scene.eventually("the owed reload", |scene| {
        seen(scene) == text.repeat(3) && shown(scene).iter().all(|file| file == text) && applied(scene)
    });
    scene.signal(Signal::SIGTERM);
    scene.exit_code();
    assert_eq!(made_up(&scene), Vec::<String>::new(), "{point} {place}");
    Some(place)
}

#[test]
fn a_kill_at_any_step_of_a_set_leaves_one_whole_set_and_loses_no_reload() {
    if !cfg!(debug_assertions) {
        panic!("failpoints are only in builds with debug assertions");
    }
    let (next, end) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    let places = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let point = next.fetch_add(1, Ordering::Relaxed);
                    if point > end.load(Ordering::Relaxed) {
                        return;
                    }
                    match killed_at(point) {
                        Some(place) => drop(places.lock().unwrap().insert(place)),
                        None => drop(end.fetch_min(point, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
    let end = end.into_inner();
    assert!(end > 40, "only {end} points");
    let wanted: BTreeSet<String> = PLACES.map(String::from).into();
    assert_eq!(places.into_inner().unwrap(), wanted);
}
