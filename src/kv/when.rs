//! A point in the past as it is typed: a revision, a time, or how long ago.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use kvapi::{Revision, duration};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Revision(Revision),
    At(Time),
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    /// Milliseconds since 1970.
    Clock(u64),
    Ago(Duration),
}

impl Time {
    /// Milliseconds since 1970.
    pub(super) fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Clock(ms) => ms,
            Self::Ago(ago) => now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(revision) = text.parse() {
            return Ok(Self::Revision(Revision(revision)));
        }
        let time = text.parse().map(Self::At);
        time.map_err(|_: String| {
            format!("`{text}` is neither a revision (844) nor a time (2026-11-24T08:30:00Z) nor how long ago (10m)")
        })
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.parse::<u64>().is_ok() {
            return Err(format!("`{text}` is a revision, not a time; name it with --rev {text}"));
        }
        if let Ok(ago) = duration::parse(text) {
            return Ok(Self::Ago(ago));
        }
        rfc3339(text)
            .map(Self::Clock)
            .ok_or_else(|| format!("`{text}` is neither a time (2026-11-24T08:30:00Z) nor how long ago (10m)"))
    }
}

/// `FROM..TO`, `FROM..` or `FROM`; without TO it is the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span<T> {
    pub(super) from: T,
    pub(super) to: Option<T>,
}

impl<T: FromStr<Err = String>> FromStr for Span<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, ""));
        Ok(Self {
            from: from.parse()?,
            to: if to.is_empty() { None } else { Some(to.parse()?) },
        })
    }
}

/// A revision alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(pub(super) u64);

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().map(Self);
        number.map_err(|_| format!("`{text}` is not a revision; give numbers, such as 844..851"))
    }
}

/// Milliseconds since 1970, by this machine's clock.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 of a time with its zone: `2026-11-24T08:30:00Z`, `...+02:00`.
fn rfc3339(text: &str) -> Option<u64> {
    let at: Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_the_past_is_a_revision_or_a_time_or_how_long_ago() {
        for (text, when) in [
            ("844", When::Revision(Revision(844))),
            ("10m", When::At(Time::Ago(Duration::from_secs(600)))),
            ("1970-01-01T00:00:01.5Z", When::At(Time::Clock(1_500))),
            ("1970-01-01T02:00:01+02:00", When::At(Time::Clock(1_000))),
            ("1969-12-31T23:00:01-01:00", When::At(Time::Clock(1_000))),
        ] {
            assert_eq!(text.parse(), Ok(when), "{text}");
        }
        for text in ["", "yesterday", "-5m", "2026-11-24", "2026-11-24T08:30:00", "10"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_without_an_end_goes_to_the_present() {
        let span = |from, to| Span { from, to };

        assert_eq!("844..851".parse(), Ok(span(Number(844), Some(Number(851)))));
        assert_eq!("844..".parse(), Ok(span(Number(844), None)));
        assert_eq!("844".parse(), Ok(span(Number(844), None)));
        assert!("..851".parse::<Span<Number>>().is_err());
        let time = "1h..10m".parse::<Span<Time>>().unwrap();
        assert_eq!(time.to.unwrap().ms(1_000_000), 400_000);
    }
}
