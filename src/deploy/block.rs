//! A deployment as a block of lines for a terminal: for each app a bar of its instances. Pure.

use std::time::Duration;

use super::deployment::{Deployment, Part};
use super::told::{numbers, seconds};
use crate::paint::Paint;

/// Cells of a bar.
const BAR: usize = 24;

/// How wide and high the block may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// The lines: head, apps, the last that happened.
pub(super) fn block(
    deployment: &Deployment,
    elapsed: Option<Duration>,
    last: Option<&str>,
    room: Room,
    paint: Paint,
) -> Vec<String> {
    let elapsed = elapsed.map_or_else(String::new, |elapsed| {
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        format!(", {}", seconds(ms))
    });
    let head = format!("version {}: {}{elapsed}", deployment.version, deployment.word());
    let mut lines = vec![paint.bold(cut(&head, room.width))];
    let name = deployment.apps.iter().map(|part| part.id.chars().count()).max();
    let name = name.unwrap_or(0).min(room.width / 3);
    // Those that are not done come first, where not all have room.
    let mut parts: Vec<&Part> = deployment.apps.iter().collect();
    let space = room.height.saturating_sub(4).max(1);
    if parts.len() > space {
        parts.sort_by_key(|part| is_done(part));
    }
    for part in parts.iter().take(space) {
        let front = format!("  {:<name$}  ", cut(&part.id, name));
        let behind = format!("  {}", numbers(part));
        if front.chars().count() + BAR + behind.chars().count() <= room.width {
            lines.push(format!("{front}{}{behind}", bar(part, paint)));
        } else {
            lines.push(cut(&format!("{front}{}", numbers(part)), room.width));
        }
        if let Some(reason) = part.waiting.first().filter(|_| parts.len() * 2 <= space) {
            lines.push(paint.dim(cut(&format!("  {:<name$}  waits: {reason}", ""), room.width)));
        }
    }
    if parts.len() > space {
        lines.push(format!("  and {} more", parts.len() - space));
    }
    if let Some(last) = last {
        lines.push(paint.dim(cut(&format!("  {last}"), room.width)));
    }
    lines
}

fn is_done(part: &Part) -> bool {
    part.old == 0 && part.new == part.target && part.healthy == part.target
}

/// New and healthy, new, old, missing.
fn bar(part: &Part, paint: Paint) -> String {
    let whole = part.target.max(part.old + part.new).max(1);
    let healthy = part.healthy.min(part.new);
    let cell = |count: u32| (count as usize * BAR + whole as usize / 2) / whole as usize;
    let ends = [healthy, part.new, part.new + part.old, whole].map(cell);
    let piece = |from: usize, to: usize, sign: &str| sign.repeat(to - from);
    [
        paint.green(piece(0, ends[0], "█")),
        paint.cyan(piece(ends[0], ends[1], "▒")),
        piece(ends[1], ends[2], "░"),
        paint.dim(piece(ends[2], ends[3], "·")),
    ]
    .concat()
}

/// As much of a line as there is room for.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::super::deployment::tests::rolling;
    use super::*;
    use crate::paint::{ColorChoice, Environment};

    const ROOM: Room = Room { width: 80, height: 24 };

    fn shown(deployment: &Deployment, last: Option<&str>, room: Room) -> Vec<String> {
        let paint = Paint::new(ColorChoice::Never, Environment::default(), false);
        block(deployment, Some(Duration::from_millis(4_200)), last, room, paint)
    }

    #[test]
    fn each_app_has_a_bar_of_its_instances() {
        let mut deployment = rolling();
        deployment.apps[0].waiting = vec!["no port is free".into()];

        assert_eq!(
            shown(&deployment, Some("/web: one ended"), ROOM),
            [
                "version 2026-01-02T03:04:05.678Z: step 1 of 1, 4.2 s",
                "  /web  ██████████████▒▒▒░░░░░░░  3 old, 7 new, 6 of 10 healthy",
                "        waits: no port is free",
                "  /web: one ended",
            ]
        );
        (
            deployment.apps[0].old,
            deployment.apps[0].new,
            deployment.apps[0].healthy,
        ) = (0, 0, 0);
        assert_eq!(
            shown(&deployment, None, ROOM)[1],
            "  /web  ························  0 new, 0 of 10 healthy"
        );
    }

    #[test]
    fn what_has_no_room_is_cut_and_what_is_done_goes_first() {
        let mut deployment = rolling();
        let done = Part {
            id: "/done".into(),
            old: 0,
            new: 1,
            healthy: 1,
            target: 1,
            ..deployment.apps[0].clone()
        };
        deployment.apps = vec![done; 40];
        deployment.apps.push(rolling().apps.remove(0));

        let lines = shown(&deployment, Some("last"), Room { width: 40, height: 10 });

        assert_eq!(lines.len(), 9);
        assert!(lines[1].starts_with("  /web "), "{lines:?}");
        assert_eq!(lines[7], "  and 35 more");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
    }
}
