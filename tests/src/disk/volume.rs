//! A small disk of a server's own: a tmpfs on its folder, which can be filled up and cleared. Must not know what else is
//! stored there.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;

/// The file that fills the disk up, in the volume.
const FILLER: &str = "filler";
/// Bytes of one write of it; the last ones are smaller.
const CHUNK: usize = 1 << 20;

/// A mounted tmpfs, unmounted when it is dropped.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
}

impl Volume {
    /// What this machine lacks for volumes, if it lacks anything: they need a mount, and that needs root.
    pub fn lacking() -> Option<String> {
        let folder = tempfile::tempdir().ok()?;
        Self::mount(folder.path(), 1).err().map(|error| format!("a tmpfs cannot be mounted: {error:#}"))
    }

    /// Mounts one of so many megabytes at `path`, which is made.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn mount(path: &Path, megabytes: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(path)?;
        let size = format!("size={megabytes}m");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self { path: path.to_owned() })
    }

    /// Writes until the disk takes not one byte more, and gives how many it took. Again and again, it takes whatever has
    /// become free meanwhile.
    ///
    /// # Errors
    /// As the file's, but for the one that is wanted.
    pub fn fill(&self) -> io::Result<u64> {
        self.take(u64::MAX)
    }

    /// As [`Volume::fill`], but takes no more than is free now: what a replica lets go meanwhile is left to it.
    ///
    /// # Errors
    /// As [`Volume::fill`].
    pub fn fill_what_is_free(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.path)?;
        self.take(found.f_bavail * found.f_frsize)
    }

    fn take(&self, most: u64) -> io::Result<u64> {
        let mut file = File::options().append(true).create(true).open(self.path.join(FILLER))?;
        let zeros = vec![0; CHUNK];
        let (mut took, mut chunk) = (0, CHUNK);
        while chunk > 0 && took < most {
            let next = chunk.min(usize::try_from(most - took).unwrap_or(chunk));
            match file.write(&zeros[..next]) {
                Ok(written) => took += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => chunk /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(took)
    }

    /// Gives all that space back.
    ///
    /// # Errors
    /// As the file system's.
    pub fn clear(&self) -> io::Result<()> {
        fs::remove_file(self.path.join(FILLER))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a server may still have files open on it, and dies later.
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        if !unmounted.as_ref().is_ok_and(std::process::ExitStatus::success) {
            println!("{} is still mounted: {unmounted:?}", self.path.display());
        }
    }
}
