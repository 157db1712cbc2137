use std::task::Waker;

use kvapi::sse::Parser;
use kvapi::types::WatchEvent;

use super::*;
use crate::command::{Action, Command, Limits};
use crate::view::Sink as _;
use crate::watch::hub::Hub;
use crate::watch::patterns::Patterns;
use crate::watch::ring::Bounds;

mod agreement;
mod large;
mod replaced;

/// A hub with its state, where the dispatcher works when told to.
struct Fixture {
    hub: Arc<Hub>,
    state: State,
    stopping: CancellationToken,
}

impl Fixture {
    fn new(bounds: Bounds) -> Self {
        Self {
            hub: Arc::new(Hub::new(bounds)),
            state: State::default(),
            stopping: CancellationToken::new(),
        }
    }

    fn apply(&mut self, action: Action) {
        let command = Command::from(action);
        let event = self.state.apply(1, &command).event;
        self.hub
            .applied(&Arc::new(self.state.clone()), event.into_iter().collect());
        self.hub.publish();
    }

    fn put(&mut self, key: &str, value: &str) {
        let (key, value) = (Key::new(key).unwrap(), Bytes::from(value.to_owned()));
        self.apply(Action::Put {
            key,
            value,
            flags: 0,
            cas: None,
        });
    }

    fn views(&self) -> Views {
        let views = Views::default();
        views.set(Arc::new(self.state.clone()));
        views
    }

    fn subscribe(&self, prefixes: &[&str]) -> Subscription {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        self.hub.subscribe(Patterns::new(vec![], prefixes).unwrap())
    }

    fn snapshot(&self, prefixes: &[&str]) -> Stream {
        Stream::snapshot(
            self.subscribe(prefixes),
            &Arc::new(self.state.clone()),
            self.stopping.clone(),
        )
    }

    fn since(&self, prefixes: &[&str], revision: u64) -> Stream {
        Stream::since(self.subscribe(prefixes), Revision(revision), self.stopping.clone())
    }

    /// What the stream has to say now, in short: `s4:a,b` a snapshot, `c5:a` a change, `p5`
    /// progress, `x` compacted, `end`.
    fn read(&self, stream: &mut Stream) -> Vec<String> {
        let mut parser = Parser::default();
        let mut told = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let views = self.views();
        while let Poll::Ready(Some(bytes)) = stream.poll_next(&mut cx, &views) {
            let bytes = bytes.unwrap();
            told.extend(parser.push(&bytes).iter().map(short));
        }
        told
    }
}

fn short(event: &kvapi::sse::SseEvent) -> String {
    match WatchEvent::parse(&event.name, &event.data).unwrap().unwrap() {
        WatchEvent::Snapshot(s) => {
            let keys: Vec<_> = s.entries.iter().map(|entry| entry.key.as_str()).collect();
            format!("s{}:{}", s.revision, keys.join(","))
        }
        WatchEvent::Change(c) => {
            let keys: Vec<_> = c.changes.iter().map(|change| change.key.as_str()).collect();
            format!("c{}:{}", c.revision, keys.join(","))
        }
        WatchEvent::Progress(p) => format!("p{}", p.revision),
        WatchEvent::Compacted(_) => "x".into(),
        WatchEvent::End(_) => "end".into(),
    }
}

#[tokio::test]
async fn a_snapshot_comes_first_and_then_one_event_for_each_revision() {
    let mut fixture = Fixture::new(Bounds::default());
    fixture.put("a/1", "x");
    fixture.put("b", "x");
    let mut stream = fixture.snapshot(&["a/"]);
    assert_eq!(fixture.read(&mut stream), ["s3:a/1"]);

    fixture.put("a/2", "x");
    fixture.put("b", "y");
    fixture.apply(Action::DeletePrefix { prefix: String::new() });

    assert_eq!(fixture.read(&mut stream), ["c4:a/2", "c6:a/1,a/2"]);
    assert!(fixture.read(&mut stream).is_empty());
}

#[tokio::test]
async fn a_watch_resumes_after_the_revision_it_names() {
    let mut fixture = Fixture::new(Bounds::default());
    for value in ["1", "2", "3"] {
        fixture.put("a", value);
    }

    assert_eq!(fixture.read(&mut fixture.since(&[""], 2)), ["c3:a", "c4:a"]);
    assert!(fixture.read(&mut fixture.since(&[""], 4)).is_empty());
}

#[tokio::test]
async fn a_change_between_subscription_and_stream_hides_none_before_it() {
    let mut fixture = Fixture::new(Bounds::default());
    for value in ["1", "2", "3"] {
        fixture.put("a", value);
    }
    let subscription = fixture.subscribe(&[""]);
    fixture.put("a", "4");

    let mut stream = Stream::since(subscription, Revision(2), fixture.stopping.clone());

    assert_eq!(fixture.read(&mut stream), ["c3:a", "c4:a", "c5:a"]);
}

#[tokio::test]
async fn who_falls_off_the_ring_goes_on_from_the_history() {
    let mut fixture = Fixture::new(Bounds {
        events: 2,
        ..Bounds::default()
    });
    let mut slow = fixture.snapshot(&["a"]);
    assert_eq!(fixture.read(&mut slow), ["s1:"]);

    for value in ["1", "2", "3", "4"] {
        fixture.put("a", value);
        fixture.put("b", value);
    }

    assert_eq!(fixture.read(&mut slow), ["c2:a", "c4:a", "c6:a", "c8:a"]);
    fixture.put("a", "5");
    assert_eq!(fixture.read(&mut slow), ["c10:a"]);
}

#[tokio::test]
async fn who_falls_off_the_history_too_is_told_and_gets_a_snapshot() {
    let mut fixture = Fixture::new(Bounds {
        events: 1,
        ..Bounds::default()
    });
    fixture.apply(Action::Keep(Limits {
        revisions: 2,
        versions: 1,
        bytes: 1 << 20,
    }));
    let mut slow = fixture.snapshot(&[""]);
    assert_eq!(fixture.read(&mut slow), ["s1:"]);

    for value in ["1", "2", "3", "4"] {
        fixture.put("a", value);
    }

    assert_eq!(fixture.read(&mut slow), ["x", "s5:a"]);
    fixture.put("b", "1");
    assert_eq!(fixture.read(&mut slow), ["c6:b"]);
}

#[tokio::test]
async fn own_keys_have_no_history_so_off_the_ring_means_a_snapshot() {
    let mut fixture = Fixture::new(Bounds {
        events: 1,
        ..Bounds::default()
    });
    let mut slow = fixture.snapshot(&["_keyway/services/"]);
    assert_eq!(fixture.read(&mut slow), ["s1:"]);

    fixture.put("_keyway/services/a", "1");
    fixture.put("_keyway/services/b", "1");

    assert_eq!(
        fixture.read(&mut slow),
        ["x", "s3:_keyway/services/a,_keyway/services/b"]
    );
}

#[tokio::test]
async fn everything_is_a_watch_of_settings_only() {
    let mut fixture = Fixture::new(Bounds::default());
    let mut stream = fixture.snapshot(&[""]);
    fixture.put("_keyway/agents/x", "1");

    assert_eq!(fixture.read(&mut stream), ["s1:"]);
}

#[tokio::test]
async fn an_idle_stream_says_how_far_it_is() {
    let mut fixture = Fixture::new(Bounds::default());
    let mut stream = fixture.snapshot(&["a"]);
    fixture.read(&mut stream);
    fixture.put("b", "1");
    assert!(fixture.read(&mut stream).is_empty());

    let signs = [stream.sign_of_life(), stream.sign_of_life()];

    assert_eq!(signs, [frame::progress(Revision(2)), frame::KEEP_ALIVE]);
}

#[tokio::test]
async fn the_last_event_says_that_the_server_stops() {
    let fixture = Fixture::new(Bounds::default());
    let mut stream = fixture.snapshot(&[""]);

    fixture.stopping.cancel();

    assert_eq!(fixture.read(&mut stream), ["s1:", "end"]);
    assert!(stream.ended);
}

#[tokio::test]
async fn a_large_snapshot_comes_in_pieces_and_whole() {
    let mut fixture = Fixture::new(Bounds::default());
    for n in 0..100 {
        fixture.put(&format!("a/{n:03}"), &"x".repeat(10_000));
    }
    let mut stream = fixture.snapshot(&["a/"]);
    let mut cx = Context::from_waker(Waker::noop());

    let mut pieces = Vec::new();
    while let Poll::Ready(Some(bytes)) = stream.poll_next(&mut cx, &Views::default()) {
        pieces.push(bytes.unwrap());
    }

    assert!(pieces.len() > 10);
    assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE));
    let events = Parser::default().push(&pieces.concat());
    let parsed = WatchEvent::parse(&events[0].name, &events[0].data).unwrap().unwrap();
    let WatchEvent::Snapshot(snapshot) = parsed else {
        panic!("{parsed:?}")
    };
    assert_eq!(snapshot.entries.len(), 100);
}

#[tokio::test]
async fn a_slow_snapshot_goes_on_from_a_newer_state_as_it_was_or_is_cut_off() {
    for (own, compacted) in [(false, false), (false, true), (true, false)] {
        let mut fixture = Fixture::new(Bounds::default());
        let prefix = if own { "_keyway/" } else { "a/" };
        for n in 0..20 {
            fixture.put(&format!("{prefix}{n:03}"), &"x".repeat(10_000));
        }
        let mut stream = fixture.snapshot(&[prefix]);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Some(Ok(first))) = stream.poll_next(&mut cx, &fixture.views()) else {
            panic!("no piece")
        };
        let views = fixture.views();
        let Some(Snapshot { source, .. }) = &mut stream.snapshot else {
            panic!("no snapshot")
        };
        let held = Held::new(views.current(), views.clone());
        held.let_go();
        *source = Source::Held(held);
        fixture.put(&format!("{prefix}019"), "new");
        fixture.put(&format!("{prefix}019/new"), "new");
        if compacted {
            let revision = fixture.state.revision();
            fixture.apply(Action::Compact { revision });
        }
        views.set(fixture.views().current());

        let mut pieces = vec![first];
        let mut cut = false;
        while let Poll::Ready(Some(piece)) = stream.poll_next(&mut cx, &views) {
            match piece {
                Ok(piece) => pieces.push(piece),
                Err(Cut) => cut = true,
            }
        }

        let told: Vec<String> = Parser::default().push(&pieces.concat()).iter().map(short).collect();
        assert_eq!(cut, own || compacted);
        if cut {
            assert!(told.is_empty() && stream.ended, "{told:?}");
        } else {
            let all: Vec<String> = (0..20).map(|n| format!("a/{n:03}")).collect();
            let expected = [
                format!("s21:{}", all.join(",")),
                "c22:a/019".into(),
                "c23:a/019/new".into(),
            ];
            assert_eq!(told, expected);
        }
    }
}

mod any_order {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(&'static str, u8),
        Delete(&'static str),
        Read,
        /// A new stream from the last revision seen; the key changes while it is being opened.
        Reconnect(&'static str, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = prop::sample::select(vec!["a", "a/b", "b", "_keyway/x"]);
        prop_oneof![
            6 => (key.clone(), 0..3_u8).prop_map(|(key, value)| Step::Put(key, value)),
            2 => key.clone().prop_map(Step::Delete),
            2 => Just(Step::Read),
            1 => (key, 0..3_u8).prop_map(|(key, value)| Step::Reconnect(key, value)),
        ]
    }

    /// A client: what it has after the frames so far.
    #[derive(Default)]
    struct Reader {
        map: BTreeMap<String, Bytes>,
        seen: u64,
        parser: Parser,
    }

    impl Reader {
        fn follow(&mut self, bytes: &[u8]) {
            for event in self.parser.push(bytes) {
                match WatchEvent::parse(&event.name, &event.data).unwrap().unwrap() {
                    WatchEvent::Snapshot(s) => {
                        self.seen = s.revision.0;
                        self.map = s.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                    }
                    WatchEvent::Change(c) => {
                        assert!(c.revision.0 > self.seen, "{} after {}", c.revision, self.seen);
                        self.seen = c.revision.0;
                        for change in c.changes {
                            match change.entry {
                                Some(entry) => drop(self.map.insert(change.key, entry.value)),
                                None => drop(self.map.remove(&change.key)),
                            }
                        }
                    }
                    WatchEvent::Progress(p) => self.seen = p.revision.0,
                    WatchEvent::Compacted(_) | WatchEvent::End(_) => {}
                }
            }
        }
    }

    proptest! {
        /// However small ring and history are, however slow the reader, however often it is cut off.
        #[test]
        fn a_reader_ends_with_what_the_store_has(
            steps in prop::collection::vec(step(), 1..40),
            events in 1..5_usize,
            revisions in 1..6_u64,
            prefix in prop::sample::select(vec!["", "a", "a/", "_keyway/"]),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let _guard = runtime.enter();
            let mut fixture = Fixture::new(Bounds { events, ..Bounds::default() });
            fixture.apply(Action::Keep(Limits { revisions, versions: 1, bytes: 1 << 20 }));
            let mut stream = fixture.snapshot(&[prefix]);
            let mut reader = Reader::default();
            let mut cx = Context::from_waker(Waker::noop());

            for step in [Step::Read].into_iter().chain(steps).chain([Step::Read]) {
                match step {
                    Step::Put(key, value) => fixture.put(key, &value.to_string()),
                    Step::Delete(key) => fixture.apply(Action::Delete { key: Key::new(key).unwrap(), cas: None }),
                    Step::Reconnect(key, value) => {
                        let subscription = fixture.subscribe(&[prefix]);
                        fixture.put(key, &value.to_string());
                        stream = Stream::since(subscription, Revision(reader.seen), fixture.stopping.clone());
                        reader.parser = Parser::default();
                    }
                    Step::Read => {
                        let views = fixture.views();
                        while let Poll::Ready(Some(bytes)) = stream.poll_next(&mut cx, &views) {
                            reader.follow(&bytes.unwrap());
                        }
                    }
                }
            }

            let expected: BTreeMap<String, Bytes> = fixture
                .state
                .range(prefix)
                .map(|(key, entry)| (key.as_str().to_owned(), entry.value.clone()))
                .collect();
            prop_assert_eq!(reader.map, expected);
        }
    }
}
