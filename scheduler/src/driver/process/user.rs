//! The user that a process runs as, in numbers.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group` alone, for the reason in docs/decisions/0100.

use std::fs;

/// What a process is told to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) user: u32,
    pub(super) group: u32,
    /// Beside its own.
    groups: Vec<u32>,
    pub(super) home: Option<String>,
}

impl User {
    /// A name, a number, or `USER:GROUP`.
    pub(super) fn find(text: &str) -> Result<Self, String> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        Self::among(text, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn among(text: &str, passwd: &str, group: &str) -> Result<Self, String> {
        let (name, given) = text
            .split_once(':')
            .map_or((text, None), |(name, group)| (name, Some(group)));
        let line = line_of(passwd, name);
        let number = |at: usize| line.as_ref().and_then(|line| line.get(at)?.parse().ok());
        let Some(user) = number(2).or_else(|| name.parse().ok()) else {
            return Err(format!("this machine has no user `{name}`; give a number"));
        };
        let own = match given {
            Some(given) => {
                let listed = line_of(group, given).and_then(|line| line.get(2)?.parse().ok());
                let number = listed.or_else(|| given.parse().ok());
                number.ok_or_else(|| format!("this machine has no group `{given}`; give a number"))?
            }
            None => number(3).unwrap_or(user),
        };
        let login = line.as_ref().and_then(|line| line.first().copied());
        Ok(Self {
            user,
            group: own,
            groups: login.map(|login| groups_of(group, login, own)).unwrap_or_default(),
            home: line.and_then(|line| line.get(5).map(|home| (*home).to_owned())),
        })
    }

    /// As the launcher takes it: `USER:GROUP[,GROUP...]`.
    pub(super) fn in_numbers(&self) -> String {
        let groups = std::iter::once(self.group).chain(self.groups.iter().copied());
        let groups: Vec<String> = groups.map(|group| group.to_string()).collect();
        format!("{}:{}", self.user, groups.join(","))
    }
}

/// The fields of the line that begins with a name, or has the number in its third field.
fn line_of<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let lines = || text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let by = |at: usize| lines().find(|fields| fields.get(at) == Some(&name));
    by(0).or_else(|| by(2))
}

/// The groups that list a user as a member.
fn groups_of(text: &str, login: &str, own: u32) -> Vec<u32> {
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let listed = fields.filter(|fields| {
        fields
            .get(3)
            .is_some_and(|members| members.split(',').any(|member| member == login))
    });
    let numbers = listed.filter_map(|fields| fields.get(2)?.parse().ok());
    numbers.filter(|number| *number != own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv/web:/bin/false\n";
    const GROUP: &str = "root:x:0:\nlogs:x:4:syslog,web\nweb:x:44:web\n";

    #[test]
    fn a_user_is_a_name_or_a_number_and_has_its_groups() {
        for (text, numbers, home) in [
            ("web", "33:44,4", Some("/srv/web")),
            ("33", "33:44,4", Some("/srv/web")),
            ("web:logs", "33:4,44", Some("/srv/web")),
            ("web:7", "33:7,4,44", Some("/srv/web")),
            ("4711", "4711:4711", None),
        ] {
            let user = User::among(text, PASSWD, GROUP).unwrap();
            assert_eq!(user.in_numbers(), numbers, "{text}");
            assert_eq!(user.home.as_deref(), home, "{text}");
        }
    }

    #[test]
    fn a_user_or_group_that_is_not_there_is_named() {
        for (text, named) in [("nobody-knows", "user `nobody-knows`"), ("web:wheel", "group `wheel`")] {
            assert!(User::among(text, PASSWD, GROUP).unwrap_err().contains(named), "{text}");
        }
    }
}
