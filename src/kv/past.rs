//! Reads of the past: keys as they were, and which revision a time stands for.

use kvapi::types::Change;
use kvapi::{Client, Consistency, Problem, Revision};

use super::side::Side;
use super::target::Target;
use super::when::{When, now_ms};
use crate::failure::Failure;
use crate::output::moment;

/// The keys of the target as they were at a revision, or as they are.
pub(super) async fn side(client: &Client, target: &Target, at: Option<Revision>) -> Result<Side, Failure> {
    let (revision, entries) = match target {
        Target::Key(key) => {
            let found = client.get_at(key.as_str(), at, Consistency::Default).await?;
            (found.revision, found.value.into_iter().collect())
        }
        Target::Below(prefix) => {
            let found = client.list_at(prefix, at, Consistency::Default).await?;
            (found.revision, found.value)
        }
    };
    let note = match at {
        Some(at) => format!("revision {at}"),
        None => format!("revision {revision}, now"),
    };
    Ok(Side::of(entries, note))
}

/// The head of the last change of the target, if any is kept.
pub(super) async fn newest(client: &Client, target: &Target) -> Result<Option<Change>, kvapi::Error> {
    Ok(newest_before(client, target, None).await?.change)
}

/// The revision that a point in the past stands for: of a time, that of the last change until then.
pub(super) async fn revision(client: &Client, target: &Target, when: When) -> Result<Revision, Failure> {
    let time = match when {
        When::Revision(revision) => return Ok(revision),
        When::At(time) => time,
    };
    let at_ms = time.ms(now_ms());
    at_time(client, target, at_ms).await?.map_err(|oldest| {
        let at = moment::utc(at_ms);
        let what = format!("what was there at {at} is no longer kept; the oldest revision kept is {oldest}");
        let problem = Problem::of(&kvapi::codes::COMPACTED, what);
        problem
            .help(format!("see what is kept with   keyway kv history {target}"))
            .into()
    })
}

/// The revision after which a watch begins. Of a time that is no longer kept it is one that is not
/// either, so that the watch says what it missed.
pub(super) async fn since(client: &Client, when: When) -> Result<Revision, Failure> {
    let everything = Target::Below(String::new());
    match when {
        When::Revision(revision) => Ok(revision),
        When::At(time) => Ok(at_time(client, &everything, time.ms(now_ms()))
            .await?
            .unwrap_or_default()),
    }
}

/// The inner error is the oldest revision that is kept: the time is before it.
async fn at_time(client: &Client, target: &Target, at_ms: u64) -> Result<Result<Revision, Revision>, Failure> {
    if let Some(change) = last_until(client, target, at_ms).await?.0 {
        return Ok(Ok(change.revision));
    }
    // Nothing of it is kept from so long ago. If everything of then is kept, there was nothing.
    let everything = Target::Below(String::new());
    let (last, oldest) = last_until(client, &everything, at_ms).await?;
    if let Some(change) = last.filter(|change| change.revision >= oldest) {
        return Ok(Ok(change.revision));
    }
    // A store that has forgotten nothing was empty before its first change.
    Ok(if oldest <= Revision::EMPTY {
        Ok(Revision::EMPTY)
    } else {
        Err(oldest)
    })
}

/// The last change of the target at or before a time, and the oldest revision that is kept.
///
/// Times never fall as revisions rise, so it is found by halving: of a million revisions in 20 steps.
async fn last_until(client: &Client, target: &Target, at_ms: u64) -> Result<(Option<Change>, Revision), Failure> {
    let newest = newest_before(client, target, None).await?;
    let oldest = newest.oldest;
    let mut best = None;
    // Above `low` and below `high` is what is not known yet.
    let (mut low, mut high) = match newest.change {
        None => return Ok((None, oldest)),
        Some(change) if change.at <= at_ms => return Ok((Some(change), oldest)),
        Some(change) => (0, change.revision.0),
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match newest_before(client, target, Some(Revision(middle).next()))
            .await?
            .change
        {
            Some(change) if change.at > at_ms => high = change.revision.0,
            found => {
                best = found.or(best);
                low = middle;
            }
        }
    }
    Ok((best, oldest))
}

struct Newest {
    change: Option<Change>,
    oldest: Revision,
}

async fn newest_before(client: &Client, target: &Target, before: Option<Revision>) -> Result<Newest, kvapi::Error> {
    // Only the head: what a revision changed may be very much, and nobody looks at it here.
    let history = client
        .history_heads(target.as_str(), target.is_prefix(), Some(1), before)
        .await?;
    Ok(Newest {
        change: history.changes.into_iter().next(),
        oldest: history.oldest,
    })
}
