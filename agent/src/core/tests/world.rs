//! The world around a core: a store, files, a child. It performs actions at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kvapi::problem::exit;
use kvapi::types::{Change, Entry, KeyChange, Revision, Snapshot, WatchEvent};

use crate::config::Raw;
use crate::core::{Action, Core, Event, Unfit};
use crate::graph::TemplateId;
use crate::load::Program;
use crate::render::Surroundings;
use crate::templates::Templates;
use crate::view::View;

/// The world around a core: a store, files, a child. It performs actions at once, or as told.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Instant,
    pub(super) store: BTreeMap<String, Entry>,
    pub(super) revision: u64,
    /// What each file shows, with the revision that it was promoted at.
    pub(super) files: BTreeMap<TemplateId, String>,
    pub(super) old_files: BTreeMap<TemplateId, String>,
    pub(super) staged: BTreeMap<TemplateId, String>,
    pub(super) child: bool,
    /// The child was asked to stop.
    pub(super) stopping: bool,
    pub(super) linked: bool,
    /// A child that ends leaves others in its group.
    pub(super) leaves: bool,
    /// The old files cannot be put back.
    pub(super) stuck: bool,
    /// A set comes to be in place by half.
    pub(super) half: bool,
    pub(super) check: fn(&BTreeMap<TemplateId, String>) -> bool,
    pub(super) reload: fn(&BTreeMap<TemplateId, String>) -> bool,
    pub(super) probe: fn(&BTreeMap<TemplateId, String>) -> bool,
    pub(super) log: Vec<String>,
    pub(super) ended: Option<u8>,
    /// What is in the cache.
    pub(super) cache: Option<View>,
}

pub(super) fn program(config: &str, texts: &[&str]) -> Arc<Program> {
    let templates: String = (0..texts.len())
        .map(|n| format!("[[template]]\ncontents = \"\"\ndestination = \"/f{n}\"\n"))
        .collect();
    let config = Raw::parse(&format!("{config}\n{templates}"), Path::new("/t.toml")).unwrap();
    let once = config.exec.command.first().is_some_and(|word| word == "once");
    let named: Vec<(String, String)> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| (format!("t{n}"), (*text).to_owned()))
        .collect();
    Arc::new(Program::new(
        config.check(once).unwrap(),
        Templates::compile(&named, &BTreeMap::new(), None).unwrap(),
        Default::default(),
    ))
}

pub(super) const CHILD: &str = "on_change = \"signal=HUP\"\n[exec]\ncommand = [\"x\"]\n";

impl World {
    pub(super) fn new(config: &str, texts: &[&str]) -> Self {
        Self {
            core: Core::new(program(config, texts), View::default(), None),
            now: Instant::now(),
            store: BTreeMap::new(),
            revision: 1,
            files: BTreeMap::new(),
            old_files: BTreeMap::new(),
            staged: BTreeMap::new(),
            child: false,
            stopping: false,
            linked: true,
            leaves: false,
            stuck: false,
            half: false,
            check: |_| true,
            reload: |_| true,
            probe: |_| true,
            log: Vec::new(),
            ended: None,
            cache: None,
        }
    }

    pub(super) fn entry(&self, key: &str, value: &str) -> Entry {
        Entry {
            lock_index: 0,
            key: key.into(),
            flags: 0,
            value: Bytes::copy_from_slice(value.as_bytes()),
            session: None,
            create_index: Revision(self.revision),
            modify_index: Revision(self.revision),
        }
    }

    /// Hands an event to the core and performs what comes back, until nothing does.
    pub(super) fn on(&mut self, event: Event) {
        let mut queue = vec![event];
        while !queue.is_empty() {
            let event = queue.remove(0);
            for action in self.core.on(event, self.now) {
                if self.ended.is_none() {
                    queue.extend(self.perform(action));
                }
            }
        }
    }

    pub(super) fn perform(&mut self, action: Action) -> Vec<Event> {
        match action {
            Action::Watch(_) if !self.linked => vec![Event::Lost {
                reason: "away".into(),
                everywhere: true,
            }],
            Action::Recall => {
                self.log.push("recall".into());
                vec![Event::Recalled(Ok(self
                    .cache
                    .clone()
                    .map(|view| (view, Duration::ZERO))))]
            }
            Action::Keep(view) => {
                self.cache = Some((*view).clone());
                Vec::new()
            }
            Action::Watch(scope) => {
                self.log.push("watch".into());
                let keys = self.store.iter().filter(|(key, _)| scope.covers_key(key));
                let entries = keys.map(|(_, entry)| entry.clone()).collect();
                let snapshot = Snapshot {
                    revision: Revision(self.revision),
                    entries,
                };
                vec![
                    Event::Connected { cluster: "c".into() },
                    Event::Stream(WatchEvent::Snapshot(snapshot)),
                ]
            }
            Action::Render { program, ids, view } => {
                self.log.push(format!("render {ids:?}"));
                let around = Surroundings {
                    missing: program.config.policy.missing,
                    ..Surroundings::default()
                };
                let all = ids.iter().map(|id| program.render(*id, &view, &around)).collect();
                vec![Event::Rendered(all)]
            }
            Action::Check { program, set } => {
                self.staged = set
                    .texts
                    .iter()
                    .enumerate()
                    .map(|(id, text)| (id, text.to_string()))
                    .collect();
                let differs = |id: &TemplateId| self.files.get(id) != self.staged.get(id);
                let files = self.staged.len() - usize::from(program.config.environment.reads_keys());
                let changed = (0..files).filter(differs).collect();
                vec![Event::Checked(if (self.check)(&self.staged) {
                    Ok(changed)
                } else {
                    Err(Unfit::Refused("check".into()))
                })]
            }
            Action::Promote { .. } => {
                self.log.push("promote".into());
                self.old_files = std::mem::replace(&mut self.files, self.staged.clone());
                if self.half {
                    return vec![Event::HalfWay("disk".into())];
                }
                vec![Event::Promoted(Ok(()))]
            }
            Action::PutBack => {
                self.log.push("put back".into());
                if self.stuck {
                    return vec![Event::PutBack(Err("disk".into()))];
                }
                self.files = self.old_files.clone();
                vec![Event::PutBack(Ok(()))]
            }
            Action::Start => {
                self.log.push("start".into());
                assert!(!self.child, "two children");
                self.child = true;
                vec![Event::Started]
            }
            Action::Reload { attempt, .. } | Action::Run { attempt, .. } => {
                self.log.push("reload".into());
                let result = if (self.reload)(&self.files) {
                    Ok(())
                } else {
                    Err("reload".into())
                };
                vec![Event::Applied { attempt, result }]
            }
            Action::Probe { attempt, .. } => {
                self.log.push("probe".into());
                let result = if (self.probe)(&self.files) {
                    Ok(())
                } else {
                    Err("probe".into())
                };
                vec![Event::Probed { attempt, result }]
            }
            Action::SignalGroup(signal) => {
                self.log.push(signal.to_string());
                self.stopping = true;
                Vec::new()
            }
            Action::Ready => {
                assert!(self.child || !self.core.policy().supervises, "ready without a child");
                self.log.push("ready".into());
                Vec::new()
            }
            Action::SignalChild(_) | Action::Say(..) | Action::Remember { .. } | Action::Settled => Vec::new(),
            Action::Lacking { lacks, fatal } => {
                self.log.push(format!("lacking {}", lacks[0].key));
                if fatal {
                    self.ended = Some(exit::INVALID);
                }
                Vec::new()
            }
            Action::Exit(code) => {
                self.ended = Some(code);
                Vec::new()
            }
            Action::Fail(problem) => {
                self.ended = Some(problem.code);
                Vec::new()
            }
        }
    }

    /// One transaction.
    pub(super) fn put(&mut self, values: &[(&str, Option<&str>)]) {
        self.revision += 1;
        let mut changes = Vec::new();
        for (key, value) in values {
            let entry = value.map(|value| self.entry(key, value));
            match entry.clone() {
                Some(entry) => self.store.insert((*key).into(), entry),
                None => self.store.remove(*key),
            };
            changes.push(KeyChange {
                key: (*key).into(),
                entry,
            });
        }
        if self.linked {
            let change = Change {
                revision: Revision(self.revision),
                at: 0,
                author: None,
                message: None,
                changes,
                omitted: 0,
            };
            self.on(Event::Stream(WatchEvent::Change(change)));
        }
    }

    /// The store answers the watch that was asked for last.
    pub(super) fn answer(&mut self) {
        let scope = self.core.stream.again();
        for event in self.perform(Action::Watch(scope)) {
            self.on(event);
        }
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.on(Event::Tick);
    }

    pub(super) fn exit(&mut self, code: u8) {
        (self.child, self.stopping) = (false, false);
        self.on(Event::Exited {
            code,
            told: format!("exited with {code}"),
            left: self.leaves,
        });
    }

    pub(super) fn count(&self, word: &str) -> usize {
        self.log.iter().filter(|line| line.starts_with(word)).count()
    }
}
