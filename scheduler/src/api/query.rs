//! What stands behind the `?` of a URL.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Names and values, decoded, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The last value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        pairs
            .find(|(other, _)| plain(other) == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a name, which may be written with `[]` behind it.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().filter(move |(other, _)| plain(other) == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: clients write `true`, `True` and `TRUE`, or nothing but its name.
    pub(super) fn is_on(&self, name: &str, default: bool) -> bool {
        self.get(name)
            .map_or(default, |value| value.is_empty() || value.eq_ignore_ascii_case("true"))
    }

    /// Whether something is to be embedded. Names may begin with what it is embedded in.
    pub(super) fn embeds(&self, name: &str) -> bool {
        let names = self.all("embed").map(|named| {
            let of_apps = named.strip_prefix("group.").unwrap_or(named);
            let plain = of_apps.strip_prefix("apps.").or_else(|| of_apps.strip_prefix("app."));
            Cow::Borrowed(plain.unwrap_or(of_apps))
        });
        names.into_iter().any(|named| named == name)
    }
}

/// A name without the brackets that some write behind it.
fn plain(name: &str) -> &str {
    name.strip_suffix("[]").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_7_switches_are_on_in_any_case() {
        for text in [
            "force=True",
            "force=true",
            "force=TRUE",
            "force",
            "force=false&force=true",
        ] {
            assert!(Query::parse(text).is_on("force", false), "{text}");
        }
        assert!(!Query::parse("force=False").is_on("force", true));
        assert!(Query::parse("").is_on("force", true));
    }

    #[test]
    fn names_come_more_than_once_and_with_brackets() {
        let query = Query::parse("status[]=staging&status%5B%5D=running&label=a%3D%3D1+x");

        assert_eq!(query.all("status").collect::<Vec<_>>(), ["staging", "running"]);
        assert_eq!(query.get("label"), Some("a==1 x"));
    }

    #[test]
    fn what_is_embedded_is_named_with_or_without_what_it_is_in() {
        for text in [
            "embed=tasks",
            "embed=apps.tasks",
            "embed=app.tasks",
            "embed=group.apps.tasks",
        ] {
            assert!(Query::parse(text).embeds("tasks"), "{text}");
        }
        assert!(!Query::parse("embed=apps.counts").embeds("tasks"));
    }
}
