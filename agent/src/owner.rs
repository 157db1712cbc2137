//! Whom a file belongs to: names become numbers, and what differs is told.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::unistd::{Gid, Group, Uid, User, fchown};

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
        let user = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
        let group = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
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

fn number(
    what: &str,
    owner: Option<&Owner>,
    find: impl Fn(&str) -> nix::Result<Option<u32>>,
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
