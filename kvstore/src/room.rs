//! Whether the disk of the data folder has room for writes.
//!
//! Below a mark, writes are refused and reads go on: a log that cannot be written would end the
//! server. `upkeep` measures from time to time; in between, each write is charged against
//! what was measured, so that many at once do not run over the mark. Deleting goes on further down,
//! since it is how room is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::command::{Action, Op};

/// A byte of a write is a byte in the log, one in the state on disk, and one in its history.
const COPIES: u64 = 3;

/// What a write is charged beside its own bytes.
const OVERHEAD: u64 = 512;

/// How the disk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Everything goes on.
    #[default]
    Plenty,
    /// Only what makes room is taken.
    Low,
    /// Nothing is taken.
    Full,
}

/// What was measured, and what is needed. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomStatus {
    pub level: Level,
    pub free: u64,
    /// What must be free for writes to be taken, as things stand.
    pub needed: u64,
}

/// Why a write was refused. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error(
    "the disk of the data folder is nearly full ({} MiB free, writes need {} MiB); make room: reads go on",
    .free >> 20,
    mib_rounded_up(*.needed)
)]
pub struct NoRoom {
    pub free: u64,
    pub needed: u64,
}

/// The room on the disk. Clones are the same.
#[derive(Debug, Clone)]
pub struct Room {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    min: u64,
    /// As last measured.
    free: AtomicU64,
    /// What writes were charged since then, and those before it that have no answer yet.
    charged: AtomicU64,
    /// What writes were charged that have no answer yet.
    pending: AtomicU64,
    level: AtomicU64,
    look: Notify,
}

/// A write that was let in, until it has its answer.
#[derive(Debug)]
pub struct Admitted {
    shared: Arc<Shared>,
    charge: u64,
}

impl Admitted {
    fn new(shared: &Arc<Shared>, charge: u64) -> Self {
        shared.pending.fetch_add(charge, Ordering::Relaxed);
        Self {
            shared: Arc::clone(shared),
            charge,
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.pending.fetch_sub(self.charge, Ordering::Relaxed);
    }
}

impl Room {
    /// Nothing has been measured yet: everything is let in. With a mark of 0 always.
    #[must_use]
    pub fn new(min: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                min,
                free: AtomicU64::new(u64::MAX),
                charged: AtomicU64::new(0),
                pending: AtomicU64::new(0),
                level: AtomicU64::new(Level::Plenty as u64),
                look: Notify::new(),
            }),
        }
    }

    /// Lets a write in, or says why not.
    pub fn admit(&self, action: &Action, bytes: usize) -> Result<Admitted, NoRoom> {
        let shared = &self.shared;
        let charge = (bytes as u64).saturating_mul(COPIES).saturating_add(OVERHEAD);
        let (free, needed) = (shared.free.load(Ordering::Relaxed), self.needed());
        let level = self.level();
        let shrinks = shrinks(action);
        let enough = |left: u64| match level {
            Level::Plenty => left >= shared.min || shrinks && left >= floor(shared.min),
            Level::Low => shrinks && left >= floor(shared.min),
            Level::Full => false,
        };
        let left = |charged: u64| free.saturating_sub(charged.saturating_add(charge));
        // Pending first: a measurement in between counts it twice, and not never.
        let admitted = Admitted::new(shared, charge);
        let charged = shared
            .charged
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |charged| {
                enough(left(charged)).then(|| charged.saturating_add(charge))
            });
        charged.map(|_| admitted).map_err(|charged| {
            shared.look.notify_one();
            let free = if level == Level::Plenty { left(charged) } else { free };
            NoRoom { free, needed }
        })
    }

    /// Takes note of what is free. Returns the level before and the one now.
    pub(crate) fn measured(&self, free: u64) -> (Level, Level) {
        let shared = &self.shared;
        let before = self.level();
        let now = level_after(before, free, shared.min);
        // What has no answer yet may not be on the disk yet.
        let pending = shared.pending.load(Ordering::Relaxed);
        shared.charged.store(pending, Ordering::Relaxed);
        shared.free.store(free, Ordering::Relaxed);
        shared.level.store(now as u64, Ordering::Relaxed);
        (before, now)
    }

    /// Waits until somebody who was refused wants it measured again.
    pub(crate) async fn wanted(&self) {
        self.shared.look.notified().await;
    }

    /// How the disk stands.
    #[must_use]
    pub fn status(&self) -> RoomStatus {
        RoomStatus {
            level: self.level(),
            free: self.shared.free.load(Ordering::Relaxed),
            needed: self.needed(),
        }
    }

    /// Why writes are refused, if they are.
    #[must_use]
    pub fn refusal(&self) -> Option<NoRoom> {
        let RoomStatus { level, free, needed } = self.status();
        (level != Level::Plenty).then_some(NoRoom { free, needed })
    }

    /// The mark.
    pub(crate) fn min(&self) -> u64 {
        self.shared.min
    }

    fn needed(&self) -> u64 {
        match self.level() {
            Level::Plenty => self.shared.min,
            Level::Low | Level::Full => enough_again(self.shared.min),
        }
    }

    fn level(&self) -> Level {
        match self.shared.level.load(Ordering::Relaxed) {
            0 => Level::Plenty,
            1 => Level::Low,
            _ => Level::Full,
        }
    }
}

/// What must be free for deletes to be taken.
const fn floor(min: u64) -> u64 {
    min / 4
}

/// What must be free for writes to be taken once they were refused: a little more than the mark,
/// so that it is not crossed to and fro.
const fn enough_again(min: u64) -> u64 {
    min + min / 8
}

fn level_after(before: Level, free: u64, min: u64) -> Level {
    if free < floor(min) {
        Level::Full
    } else if free < min || before != Level::Plenty && free < enough_again(min) {
        Level::Low
    } else {
        Level::Plenty
    }
}

/// Whether an action stores no value: deleting, and keeping less history, make room in the end.
fn shrinks(action: &Action) -> bool {
    let stores = match action {
        Action::Put { .. } | Action::Acquire { .. } | Action::Release { .. } | Action::CreateSession { .. } => true,
        Action::Stage { .. } | Action::Restore { .. } => true,
        Action::Txn { ops } => ops.iter().any(|op| {
            matches!(
                op,
                Op::Set { .. } | Op::Cas { .. } | Op::Lock { .. } | Op::Unlock { .. }
            )
        }),
        _ => false,
    };
    !stores
}

const fn mib_rounded_up(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use kvapi::Key;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn key() -> Key {
        Key::new("a").unwrap()
    }

    fn put() -> Action {
        Action::Put {
            key: key(),
            value: "1".into(),
            flags: 0,
            cas: None,
        }
    }

    fn delete() -> Action {
        Action::Delete { key: key(), cas: None }
    }

    fn room(free: u64) -> Room {
        let room = Room::new(64 * MIB);
        room.measured(free);
        room
    }

    #[test]
    fn below_the_mark_only_deletes_are_taken_and_below_a_quarter_of_it_nothing() {
        for (free, puts, deletes) in [
            (65, true, true),
            (63, false, true),
            (17, false, true),
            (15, false, false),
        ] {
            let room = room(free * MIB);
            assert_eq!(room.admit(&put(), 100).is_ok(), puts, "{free}");
            assert_eq!(room.admit(&delete(), 100).is_ok(), deletes, "{free}");
            assert_eq!(room.refusal().is_none(), puts, "{free}");
        }
        let mixed = Action::Txn {
            ops: vec![
                Op::Delete { key: key() },
                Op::Set {
                    key: key(),
                    value: "1".into(),
                    flags: 0,
                },
            ],
        };
        assert!(room(63 * MIB).admit(&mixed, 1).is_err());
        assert!(room(63 * MIB).admit(&Action::Txn { ops: Vec::new() }, 1).is_ok());
    }

    #[test]
    fn many_writes_between_two_measurements_do_not_run_over_the_mark() {
        let room = room(70 * MIB);
        let admitted: Vec<_> = (0..100).map_while(|_| room.admit(&put(), 512 << 10).ok()).collect();

        assert_eq!(admitted.len(), 3);
        // Unanswered, they still count after the next measurement; answered, they are in it.
        room.measured(70 * MIB);
        assert!(room.admit(&put(), 1 << 20).is_err());
        drop(admitted);
        room.measured(68 * MIB);
        assert!(room.admit(&put(), 1 << 20).is_ok());
    }

    /// Writers that are refused while others measure: whatever is taken away was put there before.
    #[test]
    fn counting_comes_out_even_whatever_is_measured_meanwhile() {
        let room = room(65 * MIB);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for n in 0..20_000_usize {
                        drop(room.admit(&put(), n % 3 * (512 << 10)));
                    }
                });
            }
            for _ in 0..20_000 {
                room.measured(65 * MIB);
            }
        });

        assert_eq!(room.shared.pending.load(Ordering::Relaxed), 0);
        room.measured(65 * MIB);
        assert_eq!(room.shared.charged.load(Ordering::Relaxed), 0);
        assert!(room.admit(&put(), 1).is_ok());
    }

    #[test]
    fn writes_are_taken_again_a_little_above_the_mark() {
        let room = room(63 * MIB);
        let said = room.admit(&put(), 1).unwrap_err().to_string();
        assert_eq!(
            said,
            "the disk of the data folder is nearly full (63 MiB free, writes need 72 MiB); make room: reads go on"
        );

        assert_eq!(room.measured(71 * MIB), (Level::Low, Level::Low));
        assert_eq!(room.measured(72 * MIB), (Level::Low, Level::Plenty));
        assert_eq!(room.measured(64 * MIB), (Level::Plenty, Level::Plenty));
        assert_eq!(room.measured(0), (Level::Plenty, Level::Full));
    }

    #[test]
    fn without_a_mark_everything_is_taken() {
        let room = Room::new(0);
        room.measured(0);

        assert!(room.admit(&put(), 1 << 20).is_ok());
    }
}
