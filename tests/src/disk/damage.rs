//! A bit that flips on a disk at rest, and the disk as it was, put aside meanwhile. Must not know what the files mean, beyond
//! the kinds of them that there are.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::Layer;

/// A kind of file: what it is called, the folder below the replica's, and which names are of the kind.
pub type Files = (&'static str, &'static str, fn(&str) -> bool);

/// The kinds of files of a replica.
pub const FILES: [Files; 5] = [
    ("the write-ahead log", "db", |name| name.ends_with(".log")),
    ("a table", "db", |name| name.ends_with(".sst")),
    ("the manifest", "db", |name| name.starts_with("MANIFEST")),
    ("a snapshot", "snapshots", |name| name.ends_with(".snap")),
    ("the mark", ".", |name| name == "mark"),
];

/// What the layer keeps where it is while a disk is put aside: a process has it mapped.
const CONTROL: &str = "control";

/// Copies a folder with all that is in it.
///
/// # Errors
/// As the file system's.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The files of a kind below a replica's folder, those with something in them.
pub fn files(root: &Path, (_, folder, is): Files) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let with_bytes = entries.filter(|entry| entry.metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0));
    let of_the_kind = with_bytes.filter(|entry| is(&entry.file_name().to_string_lossy()));
    of_the_kind.map(|entry| entry.path()).collect()
}

/// Flips one bit of a byte that is not zero: what was never written is no damage. Gives the byte's place.
///
/// # Errors
/// As the file's.
pub fn flip(path: &Path, rng: &mut StdRng) -> io::Result<Option<u64>> {
    let bytes = fs::read(path)?;
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    if written.is_empty() {
        return Ok(None);
    }
    let at = written[rng.random_range(0..written.len())];
    let file = File::options().write(true).open(path)?;
    file.write_all_at(&[bytes[at] ^ (1 << rng.random_range(0..8))], at as u64)?;
    Ok(Some(at as u64))
}

/// Puts the disk of a process that has ended aside, and a copy with a flipped bit in its place. Gives what was hit.
pub(super) fn damage(layer: &Layer, seed: u64) -> io::Result<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let (disk, journal) = aside(layer);
    fs::rename(&layer.root, &disk)?;
    // What was not synced on the disk of before is a matter of that one's journal.
    fs::create_dir_all(&journal)?;
    move_all_but_control(&layer.journal, &journal)?;
    copy(&disk, &layer.root)?;
    let mut kinds = FILES;
    kinds.shuffle(&mut rng);
    for kind in kinds {
        let candidates = files(&layer.root, kind);
        if candidates.is_empty() {
            continue;
        }
        let path = &candidates[rng.random_range(0..candidates.len())];
        if let Some(at) = flip(path, &mut rng)? {
            return Ok(format!("{}: byte {at} of {}", kind.0, path.display()));
        }
    }
    Ok("nothing".to_owned())
}

/// Puts the disk back that was put aside. The process must have ended.
pub(super) fn repair(layer: &Layer) -> io::Result<()> {
    let (disk, journal) = aside(layer);
    fs::remove_dir_all(&layer.root)?;
    fs::rename(&disk, &layer.root)?;
    for entry in others_than_control(&layer.journal)? {
        fs::remove_file(entry)?;
    }
    move_all_but_control(&journal, &layer.journal)
}

fn aside(layer: &Layer) -> (PathBuf, PathBuf) {
    (layer.root.with_extension("aside"), layer.journal.with_extension("journal-aside"))
}

fn others_than_control(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.iter().filter(|entry| entry.file_name() != CONTROL).map(fs::DirEntry::path).collect())
}

fn move_all_but_control(from: &Path, to: &Path) -> io::Result<()> {
    for path in others_than_control(from)? {
        fs::rename(&path, to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}
