//! Which program is put into containers as their agent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::super::{AgentUse, Settings};

/// The agent alone, as it is called where it lies beside `keyway`.
const ALONE: &str = "keyway-agent";

/// The number of the part of a program that names who loads it: one that has none is static.
const INTERPRETER: u64 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) program: PathBuf,
    /// The words with which it is an agent.
    pub(super) words: Vec<String>,
    /// It starts in any image.
    is_static: bool,
    told: Once,
}

impl Inside {
    /// The scheduler's own program if that is one static file, else the agent alone beside it if that is.
    pub(super) fn find(settings: &Settings) -> Self {
        let own = (settings.program.clone(), settings.agent.clone());
        let alone = (settings.program.with_file_name(ALONE), Vec::new());
        let fits = |(program, _): &(PathBuf, _)| is_static(program).unwrap_or(false);
        let found = [own.clone(), alone].into_iter().find(fits);
        let is_static = found.is_some();
        let (program, words) = found.unwrap_or(own);
        Self {
            program,
            words,
            is_static,
            told: Once::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn of(settings: &Settings, is_static: bool) -> Self {
        Self {
            program: settings.program.clone(),
            words: settings.agent.clone(),
            is_static,
            told: Once::new(),
        }
    }

    /// Whether a container that is to have an agent gets one: without a static one only if it cannot be done without, for the
    /// image may have what the program needs.
    pub(super) fn suits(&self, agent: &AgentUse) -> bool {
        if !self.is_static && !agent.needed {
            self.told.call_once(|| {
                tracing::warn!(
                    "containers in which nothing is to be rendered have no agent: neither {} nor {ALONE} beside it is one \
                     static file",
                    self.program.display()
                );
            });
        }
        self.is_static || agent.needed
    }
}

/// Whether a program is one static file: no other program loads it.
fn is_static(program: &Path) -> io::Result<bool> {
    let file = File::open(program)?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0)?;
    if head[..4] != *b"\x7fELF" {
        return Err(io::Error::other("no program of this system"));
    }
    // Numbers of 32 bits stand elsewhere in the head than those of 64.
    let (offset, size, count) = match head[4] {
        1 => (&head[28..32], &head[42..44], &head[44..46]),
        _ => (&head[32..40], &head[54..56], &head[56..58]),
    };
    let is_little = head[5] == 1;
    let number = |bytes: &[u8]| {
        let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        match is_little {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        }
    };
    let (offset, size) = (number(offset), number(size));
    for part in 0..number(count) {
        let mut kind = [0; 4];
        file.read_exact_at(&mut kind, offset + part * size)?;
        if number(&kind) == INTERPRETER {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    }

    /// A program of so many parts, of these kinds.
    fn program(kinds: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56 * kinds.len()];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).unwrap();
        for (at, kind) in kinds.iter().enumerate() {
            bytes[64 + 56 * at] = *kind;
        }
        bytes
    }

    fn settings(folder: &Path) -> Settings {
        Settings {
            folder: folder.into(),
            program: folder.join("keyway"),
            agent: vec!["agent".into()],
            store: None,
            docker: None,
        }
    }

    #[test]
    fn our_own_program_is_taken_if_it_is_static_else_the_agent_alone_if_that_is() {
        let folder = tempfile::tempdir().unwrap();
        let (static_one, dynamic) = (program(&[6, 1, 1]), program(&[6, 3, 1]));
        let write = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes);
        let settings = settings(folder.path());
        let (mut need, want) = (AgentUse::default(), AgentUse::default());
        need.needed = true;

        write("keyway", &dynamic);
        let none = Inside::find(&settings);
        assert_eq!((none.suits(&want), none.suits(&need)), (false, true));
        assert_eq!(none.program, settings.program);

        write("keyway-agent", &static_one);
        let alone = Inside::find(&settings);
        assert_eq!((alone.suits(&want), alone.words.len()), (true, 0));
        assert_eq!(alone.program, folder.path().join("keyway-agent"));

        write("keyway", &static_one);
        let own = Inside::find(&settings);
        assert_eq!((own.program, own.words), (settings.program, settings.agent));
    }

    #[test]
    fn what_is_no_program_is_not_static() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("#!/bin/sh\n{}", "true\n".repeat(20));
        let file = write(folder.path(), "script", script.as_bytes());

        assert!(is_static(&file).is_err());
        assert!(is_static(Path::new("/bin/sh")).is_ok_and(|is| !is));
    }
}
