//! The promises of a watch, held against the past: ordered, unique, atomic, complete, and resumed by its
//! revision, on whichever server.
//!
//! What is judged is what `kvapi::Watch` handed out, over all its connections.

use kvapi::Address;
use kvapi::types::{Change, Snapshot, WatchEvent, WatchRequest};
use kvapi::watch::News;

use super::past::Past;

/// Everything that one watcher heard.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) request: WatchRequest,
    pub(crate) news: Vec<News>,
}

/// Where a watcher is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Nothing is known yet; a snapshot has to come.
    Nowhere,
    /// Everything up to here was told.
    At(u64),
    /// What came behind this is no longer kept: a snapshot has to come.
    Compacted(u64),
}

impl Recording {
    /// The revision up to which everything was told.
    pub(crate) fn newest(&self) -> u64 {
        let told = self.news.iter().rev().find_map(|news| match news {
            News::Event(WatchEvent::Change(change)) => Some(change.revision),
            News::Event(WatchEvent::Snapshot(snapshot)) => Some(snapshot.revision),
            News::Event(WatchEvent::Progress(progress)) => Some(progress.revision),
            _ => None,
        });
        told.or(self.request.since).map_or(0, |revision| revision.0)
    }

    /// How often it went on behind a revision, and how often that was on another server.
    pub(crate) fn resumed(&self) -> (usize, usize) {
        let mut last: Option<&Address> = None;
        let (mut resumed, mut moved, mut told) = (0, 0, false);
        for news in &self.news {
            match news {
                News::Connected { address, .. } => {
                    if let Some(last) = last.filter(|_| told) {
                        resumed += 1;
                        moved += usize::from(last != address);
                    }
                    last = Some(address);
                }
                News::Event(_) => told = true,
                News::Lost { .. } | News::Refused { .. } => {}
            }
        }
        (resumed, moved)
    }

    /// What is wrong with it.
    pub(crate) fn check(&self, past: &Past) -> Vec<String> {
        let mut found = Vec::new();
        let mut place = self
            .request
            .since
            .map_or(Place::Nowhere, |revision| Place::At(revision.0));
        for news in &self.news {
            let News::Event(event) = news else { continue };
            match event {
                WatchEvent::Snapshot(snapshot) => {
                    found.extend(self.snapshot(place, snapshot, past));
                    place = Place::At(snapshot.revision.0);
                }
                WatchEvent::Change(change) => {
                    found.extend(self.change(place, change, past));
                    place = Place::At(change.revision.0);
                }
                WatchEvent::Progress(progress) => {
                    found.extend(self.progress(place, progress.revision.0, past));
                    place = Place::At(progress.revision.0);
                }
                WatchEvent::Compacted(compacted) => match place {
                    Place::At(at) if at == compacted.since.0 => place = Place::Compacted(at),
                    _ => found.push(format!("{compacted:?} at {place:?}")),
                },
                WatchEvent::End(_) => {}
            }
        }
        found.into_iter().map(|what| format!("{}: {what}", self.name)).collect()
    }

    fn snapshot(&self, place: Place, snapshot: &Snapshot, past: &Past) -> Vec<String> {
        let revision = snapshot.revision.0;
        let mut found = Vec::new();
        match place {
            Place::At(at) => found.push(format!("a snapshot at {revision} although {at} was known")),
            Place::Compacted(at) if revision < at => found.push(format!("a snapshot at {revision} after {at}")),
            Place::Nowhere | Place::Compacted(_) => {}
        }
        let entries: Vec<_> = past.state(&self.request, revision).into_values().collect();
        if entries != snapshot.entries {
            found.push(format!(
                "the snapshot at {revision} has {} entries, the past has {}, or others",
                snapshot.entries.len(),
                entries.len()
            ));
        }
        found
    }

    fn change(&self, place: Place, change: &Change, past: &Past) -> Vec<String> {
        let revision = change.revision.0;
        let Place::At(at) = place else {
            return vec![format!("a change at {revision} before a snapshot")];
        };
        let mut found = Vec::new();
        if revision == at {
            found.push(format!("{revision} is told twice"));
        } else if revision < at {
            found.push(format!("{revision} is told after {at}"));
        }
        found.extend(self.missed(at, revision.saturating_sub(1), past));
        let shown = past.changes.get(&revision);
        let shown = shown.map(|shown| Past::shown(shown, &self.request));
        if shown.as_ref() != Some(&change.changes) {
            found.push(format!("{revision} is {shown:?}, and was told as {:?}", change.changes));
        }
        found
    }

    fn progress(&self, place: Place, revision: u64, past: &Past) -> Vec<String> {
        match place {
            Place::At(at) if revision >= at => self.missed(at, revision, past),
            _ => vec![format!("progress at {revision}, {place:?}")],
        }
    }

    /// What should have been told between two revisions.
    fn missed(&self, after: u64, until: u64, past: &Past) -> Vec<String> {
        if after >= until {
            return Vec::new();
        }
        let between = past.changes.range(after + 1..=until);
        let missed = between.filter(|(_, change)| !Past::shown(change, &self.request).is_empty());
        missed.map(|(revision, _)| format!("{revision} was not told")).collect()
    }
}

#[cfg(test)]
mod tests {
    use kvapi::Revision;
    use kvapi::types::{Compacted, Progress};

    use super::super::past::tests::{change, example};
    use super::*;

    fn connected(server: &str) -> News {
        News::Connected {
            address: Address::parse_list(server).unwrap().remove(0),
            cluster: String::new(),
        }
    }

    fn snapshot(revision: u64, prefix: &str) -> News {
        let request = request(prefix);
        let entries = example().state(&request, revision).into_values().collect();
        News::Event(WatchEvent::Snapshot(Snapshot {
            revision: Revision(revision),
            entries,
        }))
    }

    fn told(revision: u64) -> News {
        let mut change = example().changes[&revision].clone();
        change.changes = Past::shown(&change, &request("a/"));
        News::Event(WatchEvent::Change(change))
    }

    fn progress(revision: u64) -> News {
        News::Event(WatchEvent::Progress(Progress {
            revision: Revision(revision),
        }))
    }

    fn request(prefix: &str) -> WatchRequest {
        WatchRequest {
            prefixes: vec![prefix.into()],
            ..WatchRequest::default()
        }
    }

    fn recording(news: Vec<News>) -> Recording {
        Recording {
            name: "w".into(),
            request: request("a/"),
            news,
        }
    }

    fn whole() -> Vec<News> {
        vec![
            connected("http://127.0.0.11:1"),
            snapshot(2, "a/"),
            told(3),
            News::Lost { reason: String::new() },
            connected("http://127.0.0.12:1"),
            told(4),
            progress(5),
            connected("http://127.0.0.12:1"),
            told(6),
            told(7),
        ]
    }

    #[test]
    fn a_watch_that_keeps_its_promises_is_taken() {
        let whole = recording(whole());
        assert_eq!(whole.check(&example()), [] as [&str; 0]);
        assert_eq!((whole.resumed(), whole.newest()), ((2, 1), 7));
        let compacted = News::Event(WatchEvent::Compacted(Compacted {
            since: Revision(3),
            oldest: Revision(5),
        }));
        let gap = recording(vec![snapshot(3, "a/"), compacted, snapshot(6, "a/"), told(7)]);
        assert_eq!(gap.check(&example()), [] as [&str; 0]);
    }

    #[test]
    fn each_change_left_out_told_twice_or_moved_is_found() {
        for place in [2, 5, 8] {
            let mut without = whole();
            without.remove(place);
            assert!(!recording(without).check(&example()).is_empty(), "without {place}");
        }
        for place in [2, 5, 8, 9] {
            let mut twice = whole();
            twice.insert(place + 1, twice[place].clone());
            assert!(!recording(twice).check(&example()).is_empty(), "twice {place}");
            let mut again = whole();
            again.push(again[place].clone());
            assert!(!recording(again).check(&example()).is_empty(), "again {place}");
        }
        let mut swapped = whole();
        swapped.swap(8, 9);
        assert!(!recording(swapped).check(&example()).is_empty());
    }

    #[test]
    fn a_revision_in_pieces_or_with_what_nobody_asked_for_is_found() {
        let mut pieces = whole();
        let half = |key: &str| {
            let mut half = example().changes[&4].clone();
            half.changes.retain(|change| change.key == key);
            News::Event(WatchEvent::Change(half))
        };
        pieces.splice(5..6, [half("a/1"), half("a/2")]);
        assert!(!recording(pieces).check(&example()).is_empty());
        let mut part = whole();
        part[5] = half("a/2");
        assert!(!recording(part).check(&example()).is_empty());
        let mut more = whole();
        more[2] = News::Event(WatchEvent::Change(example().changes[&3].clone()));
        assert!(!recording(more).check(&example()).is_empty(), "b is not below a/");
        let mut invented = whole();
        invented.push(News::Event(WatchEvent::Change(change(8, &[("a/2", None)]))));
        assert!(!recording(invented).check(&example()).is_empty());
    }

    #[test]
    fn progress_that_was_not_made_and_snapshots_that_are_not_so_are_found() {
        let mut early = whole();
        early[6] = progress(6);
        assert!(!recording(early).check(&example()).is_empty());
        let mut other = whole();
        other[1] = snapshot(2, "b");
        assert!(!recording(other).check(&example()).is_empty());
        let mut again = whole();
        again.insert(5, snapshot(3, "a/"));
        assert!(!recording(again).check(&example()).is_empty(), "it was to resume");
    }
}
