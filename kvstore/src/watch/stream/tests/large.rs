//! Large changes go out in pieces, and no watcher holds more of one than its pieces.

use super::*;
use crate::command::Op;

fn poll(stream: &mut Stream, views: &Views) -> Option<Result<Bytes, Cut>> {
    match stream.poll_next(&mut Context::from_waker(Waker::noop()), views) {
        Poll::Ready(piece) => piece,
        Poll::Pending => None,
    }
}

fn pieces(stream: &mut Stream, views: &Views) -> Vec<Bytes> {
    std::iter::from_fn(|| poll(stream, views)).map(Result::unwrap).collect()
}

/// A store with one large change as its last: deletions of many keys, some of them not of `a/`.
fn deleted(bounds: Bounds) -> Fixture {
    let mut fixture = Fixture::new(bounds);
    for n in 0..2_000 {
        fixture.put(&format!("{}/{n:05}", if n % 7 == 0 { "b" } else { "a" }), "x");
    }
    fixture.put("a/long", "1");
    fixture.apply(Action::DeletePrefix { prefix: String::new() });
    fixture
}

fn event(fixture: &Fixture) -> Event {
    let last = Revision(fixture.state.revision().0 - 1);
    let event = fixture.state.history().since(last).unwrap().next();
    event.unwrap()
}

#[tokio::test]
async fn a_large_change_is_to_the_byte_what_it_is_as_a_whole_from_the_ring_and_from_the_history() {
    for bounds in [Bounds::default(), Bounds { bytes: 1, events: 9 }] {
        let mut fixture = deleted(bounds);
        let value = "long value ".repeat(20_000);
        for round in 0..3 {
            let revision = fixture.state.revision().0 - 1;
            for prefixes in [&[""][..], &["a/"], &["b/", "a/001"], &["a/long"]] {
                let patterns = fixture.subscribe(prefixes).patterns().clone();
                let event = event(&fixture);
                let expected = match patterns.part_of(&event) {
                    Part::Nothing => Bytes::new(),
                    _ => frame::change(&event, |key| patterns.matches(key)),
                };

                let pieces = pieces(&mut fixture.since(prefixes, revision), &fixture.views());

                assert!(
                    pieces.iter().all(|piece| piece.len() < 2 * PIECE),
                    "{round} {prefixes:?}"
                );
                assert!(pieces.concat() == expected, "{round} {prefixes:?}");
            }
            match round {
                0 => fixture.put("a/long", &value),
                _ => {
                    let set = |key| Op::Set {
                        key: Key::new(key).unwrap(),
                        value: value.clone().into(),
                        flags: 0,
                    };
                    let ops = ["a/long", "a/longer", "b/1"].map(set).into();
                    fixture.apply(Action::Txn { ops });
                }
            }
        }
    }
}

#[tokio::test]
async fn a_watcher_in_the_middle_of_a_large_change_holds_nothing_of_it_and_goes_on_from_the_history() {
    let mut fixture = Fixture::new(Bounds {
        events: 2,
        ..Bounds::default()
    });
    let mut stream = fixture.snapshot(&["a"]);
    assert_eq!(fixture.read(&mut stream), ["s1:"]);
    fixture.put("a", &"x".repeat(200_000));
    let expected = frame::change(&event(&fixture), |_| true);
    let held = Arc::downgrade(&fixture.hub.event(fixture.state.revision()).unwrap());
    let first = poll(&mut stream, &fixture.views()).unwrap().unwrap();

    for value in ["1", "2"] {
        fixture.put("a", value);
    }

    assert!(
        held.upgrade().is_none(),
        "the ring has let go of it, and nobody else has it"
    );
    let mut got = vec![first];
    while got.iter().map(Bytes::len).sum::<usize>() < expected.len() {
        got.push(poll(&mut stream, &fixture.views()).unwrap().unwrap());
    }
    assert!(got.concat() == expected);
    assert_eq!(fixture.read(&mut stream), ["c3:a", "c4:a"]);
}

#[tokio::test]
async fn who_is_in_the_middle_of_a_large_change_that_nobody_has_any_more_is_cut_off() {
    for key in ["a", "_keyway/a"] {
        let mut fixture = Fixture::new(Bounds {
            events: 2,
            ..Bounds::default()
        });
        let mut stream = fixture.since(&[key], 1);
        fixture.put(key, &"x".repeat(200_000));
        assert!(poll(&mut stream, &fixture.views()).unwrap().is_ok());

        for value in ["1", "2"] {
            fixture.put(key, value);
        }
        let revision = fixture.state.revision();
        fixture.apply(Action::Compact { revision });

        assert!(poll(&mut stream, &fixture.views()).unwrap().is_err(), "{key}");
        assert!(poll(&mut stream, &fixture.views()).is_none() && stream.ended);
        // As a client that was cut off comes back.
        let mut again = fixture.since(&[key], 1);
        assert_eq!(fixture.read(&mut again), ["x".to_owned(), format!("s4:{key}")]);
    }
}

#[tokio::test]
async fn a_long_value_of_a_snapshot_comes_in_pieces_too() {
    let mut fixture = Fixture::new(Bounds::default());
    for key in ["a/1", "a/2", "a/3"] {
        fixture.put(key, &key.repeat(50_000));
    }

    let pieces = pieces(&mut fixture.snapshot(&["a/"]), &fixture.views());

    assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE));
    let events = Parser::default().push(&pieces.concat());
    let parsed = WatchEvent::parse(&events[0].name, &events[0].data).unwrap().unwrap();
    let WatchEvent::Snapshot(snapshot) = parsed else {
        panic!("{parsed:?}")
    };
    let values: Vec<_> = snapshot.entries.iter().map(|entry| entry.value.clone()).collect();
    assert_eq!(values, ["a/1", "a/2", "a/3"].map(|key| key.repeat(50_000)));
}
