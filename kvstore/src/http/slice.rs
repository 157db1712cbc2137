//! Which part of what is there, or was: `revision`, `limit`, `start_after`, `count`. Keyway's own
//! parameters; they are checked after Consul's.

use kvapi::Revision;

use super::error::Error;
use super::golang::{Query, parse_uint, quote};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// As it was at this revision.
    pub(super) revision: Option<Revision>,
    /// At most so many.
    pub(super) limit: Option<usize>,
    /// What stands behind this key.
    pub(super) start_after: Option<String>,
    /// Only how many there are.
    pub(super) count: bool,
}

impl Slice {
    /// Of a read of one key, or of a `list` of all that begins with `prefix`.
    pub(super) fn parse(query: &Query, prefix: &str, list: bool) -> Result<Self, Error> {
        let revision = revision(query)?;
        let limit = limit(query)?;
        let start_after = start_after(query, prefix)?;
        let count = query.has("count");
        for (given, name) in [(limit.is_some(), "limit"), (query.has("start_after"), "start_after")] {
            if given && count {
                return Err(Error::bad(format!("`count` counts them all; leave `{name}` out")));
            }
            if given && !list {
                return Err(Error::bad(format!("`{name}` is for lists; add `recurse` or `keys`")));
            }
        }
        Ok(Self {
            revision,
            limit,
            start_after,
            count,
        })
    }

    /// Whether only a part of the list is wanted.
    pub(super) const fn is_page(&self) -> bool {
        self.limit.is_some() || self.start_after.is_some()
    }
}

fn revision(query: &Query) -> Result<Option<Revision>, Error> {
    let Some(text) = query.get("revision") else {
        return Ok(None);
    };
    for name in ["index", "wait"] {
        if query.filled(name).is_some() {
            return Err(Error::bad(format!(
                "`revision` reads the past, which does not change any more; leave `{name}` out"
            )));
        }
    }
    positive("revision", &text).map(|revision| Some(Revision(revision)))
}

/// `limit`, if it is given.
pub(super) fn limit(query: &Query) -> Result<Option<usize>, Error> {
    let limit = query.get("limit").map(|text| positive("limit", &text)).transpose()?;
    Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// A parameter that has to be a number from 1 on.
pub(super) fn positive(name: &str, text: &str) -> Result<u64, Error> {
    match parse_uint(text) {
        Ok(number @ 1..) => Ok(number),
        _ => Err(Error::bad(format!(
            "`{name}` is {}; give a whole number from 1 on",
            quote(text)
        ))),
    }
}

fn start_after(query: &Query, prefix: &str) -> Result<Option<String>, Error> {
    let Some(bytes) = query.bytes("start_after").filter(|bytes| !bytes.is_empty()) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(bytes).map_err(|_| Error::bad("`start_after` is not percent-encoded UTF-8"))?;
    if !text.starts_with(prefix) {
        return Err(Error::bad(format!(
            "`start_after` is {}, which does not begin with {}; give the last key of the page before",
            quote(text),
            quote(prefix)
        )));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, prefix: &str, list: bool) -> Result<Slice, Error> {
        Slice::parse(&Query::parse(query).unwrap(), prefix, list)
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name_and_with_the_remedy() {
        for (query, list, parts) in [
            ("limit=0", true, ["`limit` is \"0\"", "from 1 on"]),
            ("limit=abc", true, ["`limit` is \"abc\"", "from 1 on"]),
            ("limit=", true, ["`limit` is \"\"", "from 1 on"]),
            ("limit=-1", true, ["`limit` is \"-1\"", "from 1 on"]),
            ("limit=99999999999999999999", true, ["`limit` is", "from 1 on"]),
            ("limit=5", false, ["`limit` is for lists", "add `recurse` or `keys`"]),
            (
                "start_after=a/b",
                false,
                ["`start_after` is for lists", "add `recurse` or `keys`"],
            ),
            (
                "start_after=b",
                true,
                ["`start_after` is \"b\"", "does not begin with \"a/\""],
            ),
            ("start_after=a/%FF", true, ["`start_after`", "UTF-8"]),
            ("count&limit=5", true, ["`count` counts them all", "leave `limit` out"]),
            (
                "count&start_after=a/b",
                true,
                ["`count` counts them all", "leave `start_after` out"],
            ),
            ("revision=abc", true, ["`revision` is \"abc\"", "from 1 on"]),
            ("revision=0", true, ["`revision` is \"0\"", "from 1 on"]),
            ("revision=", true, ["`revision` is \"\"", "from 1 on"]),
            (
                "revision=3&index=7",
                true,
                ["`revision` reads the past", "leave `index` out"],
            ),
            (
                "revision=3&wait=5s",
                true,
                ["`revision` reads the past", "leave `wait` out"],
            ),
        ] {
            let error = parse(query, "a/", list).unwrap_err();
            assert_eq!(error.status, http::StatusCode::BAD_REQUEST);
            assert!(
                parts.iter().all(|part| error.text.contains(part)),
                "{query}: {}",
                error.text
            );
        }
    }

    #[test]
    fn what_is_left_out_is_everything() {
        assert_eq!(parse("recurse&start_after=", "a/", true), Ok(Slice::default()));
        let all = parse("limit=5&start_after=a/b&revision=7", "a/", true).unwrap();
        assert_eq!((all.limit, all.start_after.as_deref()), (Some(5), Some("a/b")));
        assert_eq!(all.revision, Some(Revision(7)));
        assert!(parse("count&revision=7", "", false).unwrap().count);
    }
}
