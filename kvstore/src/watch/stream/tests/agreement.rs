//! Streams and the plain model of the store: whatever a stream tells is what was, and it leaves
//! nothing out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::state::tests::any_action;
use crate::state::tests::model::{Held, Map, Model};

#[derive(Debug, Clone)]
enum Step {
    Write(Action),
    Read(usize),
    /// A new stream from the last revision seen; something is written while it is being opened.
    Reconnect(usize, Action),
    Replaced,
}

const READERS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_action().prop_map(Step::Write),
        4 => (0..READERS).prop_map(Step::Read),
        2 => (0..READERS, any_action()).prop_map(|(reader, action)| Step::Reconnect(reader, action)),
        1 => Just(Step::Replaced),
    ]
}

#[derive(Debug, Clone)]
struct Wanted {
    keys: Vec<String>,
    prefixes: Vec<String>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let key = prop::sample::select(vec!["a", "a/b", "b", "_keyway/y", "zz"]).prop_map(str::to_owned);
    let prefix = prop::sample::select(vec!["", "a", "a/", "zz", "_keyway/", "_keyway/agents/"]).prop_map(str::to_owned);
    (prop::collection::vec(key, 0..3), prop::collection::vec(prefix, 0..3))
        .prop_filter("something is watched", |(keys, prefixes)| {
            !keys.is_empty() || !prefixes.is_empty()
        })
        .prop_map(|(keys, prefixes)| Wanted { keys, prefixes })
}

impl Wanted {
    fn picks(&self, key: &str) -> bool {
        let shown = |prefix: &String| crate::state::tests::model::is_shown(prefix, key);
        self.keys.iter().any(|wanted| wanted == key) || self.prefixes.iter().any(shown)
    }

    fn wants_own(&self) -> bool {
        self.keys
            .iter()
            .chain(&self.prefixes)
            .any(|text| text.starts_with("_keyway/"))
    }
}

/// A client that compares each event with the model.
struct Reader {
    wanted: Wanted,
    stream: Stream,
    parser: Parser,
    /// Everything up to here was told.
    seen: u64,
    /// A snapshot is to come: the stream has just said that it left something out.
    compacted: bool,
}

impl Reader {
    fn subscribe(fixture: &Fixture, wanted: &Wanted) -> Subscription {
        let patterns = Patterns::new(wanted.keys.clone(), wanted.prefixes.clone()).unwrap();
        fixture.hub.subscribe(patterns)
    }

    fn new(fixture: &Fixture, wanted: Wanted) -> Self {
        let subscription = Self::subscribe(fixture, &wanted);
        Self {
            stream: Stream::snapshot(subscription, &Arc::new(fixture.state.clone()), fixture.stopping.clone()),
            wanted,
            parser: Parser::default(),
            seen: 0,
            compacted: false,
        }
    }

    fn read(&mut self, fixture: &Fixture, model: &Model) -> Result<(), TestCaseError> {
        let mut cx = Context::from_waker(Waker::noop());
        let views = fixture.views();
        while let Poll::Ready(Some(bytes)) = self.stream.poll_next(&mut cx, &views) {
            for event in self.parser.push(&bytes.unwrap()) {
                let event = WatchEvent::parse(&event.name, &event.data).unwrap().unwrap();
                self.event(event, fixture, model)?;
            }
        }
        // Nothing is left to be told.
        let left = model.revisions(self.seen, |key| self.wanted.picks(key));
        prop_assert_eq!(left, Vec::<u64>::new(), "after {}", self.seen);
        Ok(())
    }

    fn event(&mut self, event: WatchEvent, fixture: &Fixture, model: &Model) -> Result<(), TestCaseError> {
        match event {
            WatchEvent::Change(change) => {
                let due = model.revisions(self.seen, |key| self.wanted.picks(key));
                prop_assert_eq!(Some(&change.revision.0), due.first(), "after {}", self.seen);
                self.seen = change.revision.0;
                let told: BTreeMap<_, _> = (change.changes.into_iter())
                    .map(|change| (change.key, change.entry.map(held)))
                    .collect();
                prop_assert_eq!(told, model.changes(self.seen, |key| self.wanted.picks(key)));
            }
            WatchEvent::Snapshot(snapshot) => {
                self.compacted = false;
                self.seen = snapshot.revision.0;
                let told: Map = (snapshot.entries.into_iter())
                    .map(|entry| (entry.key.clone(), held(entry)))
                    .collect();
                let mut there = model.at(self.seen).clone();
                there.retain(|key, _| self.wanted.picks(key));
                prop_assert_eq!(told, there);
            }
            WatchEvent::Compacted(compacted) => {
                let floor = fixture.state.history().floor();
                prop_assert!(compacted.since.0 >= self.seen);
                prop_assert_eq!(compacted.oldest, floor);
                prop_assert!(
                    compacted.since < floor || self.wanted.wants_own(),
                    "it could have gone on"
                );
                self.compacted = true;
            }
            WatchEvent::Progress(progress) => self.seen = progress.revision.0,
            WatchEvent::End(end) => prop_assert!(false, "{}", end.reason),
        }
        Ok(())
    }
}

fn held(entry: kvapi::Entry) -> Held {
    Held {
        value: entry.value,
        flags: entry.flags,
        create: entry.create_index.0,
        modify: entry.modify_index.0,
        lock_index: entry.lock_index,
        session: entry.session,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Several readers, each slow in its own way, over a small ring and a small history.
    #[test]
    fn every_event_of_every_stream_is_what_the_model_says_and_none_is_missing(
        steps in prop::collection::vec(step(), 1..60),
        events in 1..6_usize,
        all in prop::collection::vec(wanted(), READERS),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let mut fixture = Fixture::new(Bounds { events, ..Bounds::default() });
        let mut model = Model::default();
        let mut readers: Vec<Reader> = all.into_iter().map(|wanted| Reader::new(&fixture, wanted)).collect();
        let write = |fixture: &mut Fixture, action: Action, model: &mut Model| {
            let command = Command::from(action);
            model.apply(1, &command);
            fixture.apply(command.action);
        };

        for step in steps {
            match step {
                Step::Write(action) => write(&mut fixture, action, &mut model),
                Step::Read(n) => readers[n].read(&fixture, &model)?,
                Step::Reconnect(n, action) => {
                    let reader = &mut readers[n];
                    // Without having seen anything there is nothing to go on from.
                    if reader.seen == 0 || reader.compacted {
                        continue;
                    }
                    let subscription = Reader::subscribe(&fixture, &reader.wanted);
                    write(&mut fixture, action, &mut model);
                    reader.stream = Stream::since(subscription, Revision(reader.seen), fixture.stopping.clone());
                    reader.parser = Parser::default();
                }
                Step::Replaced => {
                    fixture.hub.replaced(&Arc::new(fixture.state.clone()));
                    fixture.hub.publish();
                }
            }
        }
        for reader in &mut readers {
            reader.read(&fixture, &model)?;
        }
    }
}
