//! Paths of Consul's that are many and alike: a list for each family, in the file that answers them.

/// What stands before all paths of a family, and the rest of each with its methods. One that ends in a
/// slash stands for all that begin with it, and an exact one comes first.
pub(super) struct Family {
    pub(super) begin: &'static str,
    pub(super) paths: &'static [(&'static str, &'static str)],
}

/// A path of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// As it stands in the list.
    pub(super) name: &'static str,
    pub(super) allow: &'static str,
    /// What is named behind it.
    pub(super) rest: &'a [u8],
}

impl Asked<'_> {
    /// What is named, for people and for looking it up.
    pub(super) fn rest(&self) -> String {
        String::from_utf8_lossy(self.rest).into_owned()
    }
}

impl Family {
    /// What a decoded path asks for, if it is one of these.
    pub(super) fn find<'a>(&self, path: &'a [u8]) -> Option<Asked<'a>> {
        let rest = path.strip_prefix(self.begin.as_bytes())?;
        self.paths.iter().find_map(|&(name, allow)| {
            let rest = rest.strip_prefix(name.as_bytes())?;
            let is_it = rest.is_empty() || name.ends_with('/');
            is_it.then_some(Asked { name, allow, rest })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_stands_for_all_behind_it_and_another_for_itself() {
        let family = Family {
            begin: "/v1/x/",
            paths: &[("node/self", "A"), ("node/", "B"), ("nodes", "C")],
        };
        let found = |path: &'static str| family.find(path.as_bytes()).map(|asked| (asked.allow, asked.rest()));

        assert_eq!(found("/v1/x/node/self"), Some(("A", String::new())));
        assert_eq!(found("/v1/x/node/a/b"), Some(("B", "a/b".into())));
        assert_eq!(found("/v1/x/node/"), Some(("B", String::new())));
        assert_eq!(found("/v1/x/nodes"), Some(("C", String::new())));
        for path in ["/v1/x/node", "/v1/x/nodes/", "/v1/x/", "/v1/y/nodes"] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
