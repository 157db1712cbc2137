//! Points in time as a person reads them: "3m ago" on a terminal, RFC 3339 elsewhere.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How times are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// In UTC, not in this machine's zone.
    pub(crate) utc: bool,
    /// As a distance from now.
    pub(crate) relative: bool,
}

impl Times {
    /// Milliseconds since 1970 as text.
    pub(crate) fn show(self, at_ms: u64) -> String {
        let Some(at) = timestamp(at_ms) else {
            return at_ms.to_string();
        };
        if self.relative && !self.utc {
            return since(at);
        }
        if self.utc {
            return utc(at_ms);
        }
        at.to_zoned_datetime(TimeZone::system())
            .strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")
            .to_string()
    }
}

/// Milliseconds since 1970 as RFC 3339 in UTC: what JSON has.
pub(crate) fn utc(at_ms: u64) -> String {
    timestamp(at_ms).map_or_else(
        || at_ms.to_string(),
        |at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    )
}

/// Milliseconds since 1970 as a distance from now: "12s ago".
pub(crate) fn ago(at_ms: u64) -> String {
    timestamp(at_ms).map_or_else(|| at_ms.to_string(), since)
}

fn since(at: Timestamp) -> String {
    let now = Timestamp::try_from(SystemTime::now()).unwrap_or(at);
    distance(now.as_millisecond() - at.as_millisecond())
}

fn timestamp(at_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at_ms).ok()?).ok()
}

/// How long ago, in the largest unit that is at least one.
fn distance(ms: i64) -> String {
    let (ago, seconds) = (ms >= 0, ms.unsigned_abs() / 1_000);
    let text = match seconds {
        0 => return "just now".into(),
        1..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    };
    if ago {
        format!("{text} ago")
    } else {
        format!("in {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_told_in_one_unit() {
        for (ms, text) in [
            (10, "just now"),
            (12_300, "12s ago"),
            (180_000, "3m ago"),
            (7_300_000, "2h ago"),
            (90_000_000, "1d ago"),
            (-5_000, "in 5s"),
        ] {
            assert_eq!(distance(ms), text);
        }
    }

    #[test]
    fn an_absolute_time_is_rfc_3339_to_the_millisecond() {
        let times = Times {
            utc: true,
            relative: true,
        };

        assert_eq!(times.show(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(utc(u64::MAX), u64::MAX.to_string());
        let local = Times::default().show(1_764_000_000_000);
        let at: Timestamp = local.parse().unwrap();
        assert_eq!(at.as_millisecond(), 1_764_000_000_000, "{local}");
    }
}
