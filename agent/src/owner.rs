//! Whom a file belongs to: names become numbers, and what differs is told.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group` alone. The C library would load what
//! `nsswitch.conf` names, and a static program that does so dies.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::unistd::{Gid, Uid, fchown};

use crate::config::{Looks, Owner};

/// What is asked of a file beside its contents, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    mode: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
}

impl Wanted {
    /// The numbers of the names; a name that this machine does not know is an error.
    pub fn of(looks: &Looks) -> io::Result<Self> {
        let user = |name: &str| listed("/etc/passwd", name);
        let group = |name: &str| listed("/etc/group", name);
        Ok(Self {
            mode: looks.mode,
            user: number("user", looks.user.as_ref(), user)?,
            group: number("group", looks.group.as_ref(), group)?,
        })
    }

    /// What is otherwise than asked for, in words.
    #[must_use]
    pub fn drift(&self, meta: &Metadata) -> Vec<String> {
        let mut found = Vec::new();
        let is = meta.mode() & 0o7777;
        if let Some(wanted) = self.mode.filter(|wanted| *wanted != is) {
            found.push(format!("mode {is:04o} becomes {wanted:04o}"));
        }
        for (what, is, wanted) in [("user", meta.uid(), self.user), ("group", meta.gid(), self.group)] {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != is) {
                found.push(format!("{what} {is} becomes {wanted}"));
            }
        }
        found
    }

    /// Gives a file its owner and its mode: what is asked for, else the old file's.
    pub fn give(&self, file: &File, old: Option<&Metadata>, new_mode: u32) -> io::Result<()> {
        if let Some(old) = old {
            // Only root may give files away; for others the owner is their own anyway.
            let _ = fchown(file, Some(Uid::from_raw(old.uid())), Some(Gid::from_raw(old.gid())));
        }
        if self.user.is_some() || self.group.is_some() {
            fchown(file, self.user.map(Uid::from_raw), self.group.map(Gid::from_raw))
                .map_err(|error| io::Error::other(format!("cannot give it to its user or group: {error}")))?;
        }
        // Behind the owner: a change of the owner takes special bits away.
        let old_mode = old.map(|old| old.mode() & 0o7777);
        let mode = self.mode.or(old_mode).unwrap_or(new_mode);
        file.set_permissions(Permissions::from_mode(mode))
    }
}

/// The number of a name in a file like passwd(5), where it is the third field; a file that is not there has none.
fn listed(file: &str, name: &str) -> io::Result<Option<u32>> {
    match fs::read(file) {
        Ok(text) => Ok(number_of(&String::from_utf8_lossy(&text), name)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io::Error::new(e.kind(), format!("{file} cannot be read: {e}"))),
    }
}

fn number_of(text: &str, name: &str) -> Option<u32> {
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        fields
            .next()
            .filter(|first| *first == name)
            .and(fields.nth(1)?.parse().ok())
    })
}

fn number(
    what: &str,
    owner: Option<&Owner>,
    find: impl Fn(&str) -> io::Result<Option<u32>>,
) -> io::Result<Option<u32>> {
    match owner {
        None => Ok(None),
        Some(Owner::Number(number)) => Ok(Some(*number)),
        Some(Owner::Name(name)) => match find(name)? {
            Some(number) => Ok(Some(number)),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("this machine has no {what} `{name}`; give a number"),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_first_field_of_its_line_and_its_number_the_third() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\n# a comment\n+::\nbad:x\nworse:x:many:\napp:x:1000:7::/:\napp:x:1:1\n";
        for (name, number) in [
            ("root", Some(0)),
            ("app", Some(1000)),
            ("roo", None),
            ("x", None),
            ("bad", None),
            ("worse", None),
        ] {
            assert_eq!(number_of(text, name), number, "{name}");
        }
        assert_eq!(listed("/no/such/file", "root").unwrap(), None);
    }

    #[test]
    fn names_become_numbers_and_drift_is_told() {
        let looks = Looks {
            mode: Some(0o600),
            user: Some("root".parse().unwrap()),
            group: Some("4711".parse().unwrap()),
            ..Looks::default()
        };
        let wanted = Wanted::of(&looks).unwrap();
        assert_eq!((wanted.user, wanted.group), (Some(0), Some(4711)));
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_permissions(Permissions::from_mode(0o640)).unwrap();

        let drift = wanted.drift(&file.as_file().metadata().unwrap());

        assert_eq!(drift.first().unwrap(), "mode 0640 becomes 0600");
        assert!(drift.last().unwrap().ends_with("becomes 4711"), "{drift:?}");
    }
}
