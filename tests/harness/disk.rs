//! A small file system of its own for a test: to be filled to the last byte, or to be cut off.
//!
//! ext4 in a file of the test's folder, on a loop device; that needs root. Where there are no loop
//! devices, a tmpfs can stand in to be filled, but not to be cut off; what is left out for it is
//! noted, and `tests/run` shows it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::Home;

/// See the module.
pub(crate) struct Disk {
    pub(crate) dir: PathBuf,
    image: Option<PathBuf>,
    /// The tmpfs that the image lies on, if there is less of it than the image promises.
    below: Option<PathBuf>,
}

impl Disk {
    /// An empty one of so many MiB.
    pub(crate) fn new(home: &Home, name: &str, mib: u64) -> anyhow::Result<Self> {
        let image = home.path(&format!("{name}.ext4"));
        File::create(&image)?.set_len(mib << 20)?;
        // Without room that only root may use: full means full.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(&image))?;
        match Self::mount(home, name, &image) {
            Ok(disk) => Ok(disk),
            Err(error) if has_loop_devices() => Err(error),
            Err(error) => {
                note_left_out(&format!(
                    "no loop devices, so a tmpfs stands in for a small ext4: {error:#}"
                ));
                fs::remove_file(&image)?;
                let dir = home.path(name);
                let size = format!("size={mib}M");
                run(Command::new("mount")
                    .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                    .arg(&dir))?;
                Ok(Self {
                    dir,
                    image: None,
                    below: None,
                })
            }
        }
    }

    fn mount(home: &Home, name: &str, image: &Path) -> anyhow::Result<Self> {
        let dir = home.path(name);
        fs::create_dir_all(&dir)?;
        // Nothing reaches the image by itself for a minute: only what was synced.
        run(Command::new("mount")
            .args(["-o", "loop,commit=60"])
            .arg(image)
            .arg(&dir))?;
        Ok(Self {
            dir,
            image: Some(image.to_owned()),
            below: None,
        })
    }

    /// One that says it has 256 MiB, on a device that can fail; `None` without loop devices, which
    /// is noted as left out.
    pub(crate) fn that_can_fail(home: &Home, name: &str) -> anyhow::Result<Option<Self>> {
        if !has_loop_devices() {
            note_left_out("no loop devices, so no sync was made to fail");
            return Ok(None);
        }
        let below = home.path(&format!("{name}-below"));
        fs::create_dir_all(&below)?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=96M", "tmpfs"])
            .arg(&below))?;
        let image = below.join("image.ext4");
        File::create(&image)?.set_len(256 << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(&image))?;
        let mut disk = Self::mount(home, name, &image)?;
        disk.below = Some(below);
        Ok(Some(disk))
    }

    /// From now on the device fails at whatever was never written before.
    pub(crate) fn fail(&self) -> anyhow::Result<()> {
        let below = self.below.as_ref().context("this one cannot fail")?;
        fill(&below.join("filler"))
    }

    /// The device works again, and the file system is put right as after a crash.
    pub(crate) fn mend(&self) -> anyhow::Result<()> {
        let below = self.below.as_ref().context("this one cannot fail")?;
        let image = self.image.as_ref().context("an image")?;
        fs::remove_file(below.join("filler"))?;
        run(Command::new("umount").arg(&self.dir))?;
        // It says 1 when it has put something right.
        let checked = run(Command::new("e2fsck").args(["-f", "-y"]).arg(image));
        drop(checked);
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.dir))
    }

    /// Whether it can be cut off. If not, that is noted as left out.
    pub(crate) fn can_be_cut(&self) -> bool {
        if self.image.is_none() {
            note_left_out("no loop devices, so no power cuts were simulated");
        }
        self.image.is_some()
    }

    /// The disk as it would be after a power cut at this moment: what has reached the device, and
    /// nothing else. The file system's journal is played back.
    pub(crate) fn after_power_cut(&self, home: &Home, name: &str) -> anyhow::Result<Self> {
        let copy = home.path(&format!("{name}.ext4"));
        let image = self.image.as_ref().context("a tmpfs has no image")?;
        fs::copy(image, &copy)?;
        Self::mount(home, name, &copy)
    }

    /// From now on nothing can be written.
    pub(crate) fn read_only(&self) -> anyhow::Result<()> {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.dir))
    }

    /// Takes what is free, up to the last byte; but `keep` bytes, about.
    pub(crate) fn fill(&self, keep: u64) -> anyhow::Result<()> {
        let path = self.dir.join(format!("filler-{}", fs::read_dir(&self.dir)?.count()));
        let file = File::create(&path)?;
        if keep > 0 {
            let length = self.free()?.saturating_sub(keep);
            nix::fcntl::posix_fallocate(&file, 0, i64::try_from(length)?)?;
            return Ok(file.sync_all()?);
        }
        drop(file);
        fill(&path)
    }

    /// Gives back what was taken.
    pub(crate) fn make_room(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.to_string_lossy().contains("/filler-") {
                fs::remove_file(path)?;
            }
        }
        // What was freed can be taken once the file system's journal knows of it.
        Ok(File::open(&self.dir)?.sync_all()?)
    }

    pub(crate) fn free(&self) -> anyhow::Result<u64> {
        let found = nix::sys::statvfs::statvfs(&self.dir)?;
        Ok(found.blocks_available() * found.fragment_size())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.dir);
        if let Some(image) = &self.image {
            drop(fs::remove_file(image));
        }
        if let Some(below) = &self.below {
            unmount(below);
        }
    }
}

fn unmount(dir: &Path) {
    let unmounted = |flags: &[&str]| {
        Command::new("umount")
            .args(flags)
            .arg(dir)
            .status()
            .is_ok_and(|s| s.success())
    };
    // Whatever still has a file open there is ending.
    if !unmounted(&[]) {
        unmounted(&["-l"]);
    }
}

/// Makes a file as large as there is room, to the last byte.
fn fill(path: &Path) -> anyhow::Result<()> {
    let mut file = File::create(path)?;
    for step in [1 << 20, 4096, 1] {
        let bytes = vec![0x5a; step];
        loop {
            match file.write(&bytes) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::StorageFull => break,
                Err(e) => return Err(e.into()),
            }
        }
    }
    match file.sync_all() {
        Err(e) if e.kind() != ErrorKind::StorageFull => Err(e.into()),
        _ => Ok(()),
    }
}

fn has_loop_devices() -> bool {
    Path::new("/dev/loop-control").exists()
}

/// Tells whoever runs the tests what was not tested here.
pub(crate) fn note_left_out(what: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("left-out");
    eprintln!("LEFT OUT: {what}");
    if let Ok(mut file) = File::options().create(true).append(true).open(path) {
        drop(writeln!(file, "{what}"));
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .with_context(|| format!("run {command:?}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
