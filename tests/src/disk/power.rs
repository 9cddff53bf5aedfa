//! What a disk holds after power was lost. What was synced is there; of all else anything may be, chosen from a seed:
//! nothing, the first part of it with a torn end, any of its pages. Names that no sync of their folder has made durable
//! go back to what they were, each group of names that hang together for itself.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};

use super::journal::{Change, FILE, Name, Pending};

/// What a disk writes at once: an overwritten sector is old or new, never a mixture.
const SECTOR: u64 = 512;
/// What the kernel writes back at once, in any order.
const PAGE: u64 = 4096;
/// Zeros at the end of a manifest that are known to be a hole.
const HOLE: usize = 8;
/// Pages that are chosen one by one, at most; a longer stretch is treated as one prefix.
const MAX_PAGES: u64 = 1 << 16;

/// What a loss of power did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Changes to files that were not durable.
    pub unsynced: usize,
    /// Of these, so many are gone or torn.
    pub undone: usize,
    /// Changes to names that were not durable.
    pub names: usize,
    /// Of these, so many are undone.
    pub names_undone: usize,
    /// Changes that were durable, to files and names.
    pub durable: usize,
}

/// How much of what was not synced a file keeps.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Nothing,
    Prefix,
    Pages,
    Everything,
}

/// Rewrites `root` into what a disk could hold if power was lost when the process that had it in its hands ended.
///
/// # Errors
/// When a file cannot be rewritten, or the journal is damaged.
pub fn lose(root: &Path, journal: &Path, seed: u64) -> io::Result<Loss> {
    let loss = undo_some(root, journal, Pending::read(journal)?, seed)?;
    for entry in fs::read_dir(journal)? {
        let entry = entry?;
        // What was kept aside, and the journal: the next life begins with everything durable.
        let name = entry.file_name();
        if name == FILE || name.to_string_lossy().contains('-') {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(loss)
}

/// As [`lose`], for one folder below the root, of what was done there since a place in the journal. The journal goes on.
///
/// # Errors
/// As [`lose`].
pub(super) fn lose_part(part: &Path, journal: &Path, since: u64, seed: u64) -> io::Result<Loss> {
    let mut pending = Pending::read_since(journal, since)?;
    pending.names.retain(|(_, name)| name.paths().iter().any(|path| path.starts_with(part)));
    undo_some(part, journal, pending, seed)
}

fn undo_some(root: &Path, journal: &Path, pending: Pending, seed: u64) -> io::Result<Loss> {
    let mut random = StdRng::seed_from_u64(seed);
    // The nastiest choice, everything that was not synced is gone, is the most telling one.
    let all_is_lost = random.random_bool(0.5);
    let mut loss = Loss { durable: pending.durable, names: pending.names.len(), ..Loss::default() };
    let places = inodes(&[root, journal])?;
    for (inode, changes) in &pending.files {
        // Without a name it is gone for good.
        let Some(path) = places.get(inode) else { continue };
        let fate = if all_is_lost { Fate::Nothing } else { draw(&mut random) };
        loss.unsynced += changes.len();
        loss.undone += forget(path, changes, fate, &mut random)?;
    }
    for name in undone_names(&pending.names, all_is_lost, &mut random) {
        undo_name(name)?;
        loss.names_undone += 1;
    }
    Ok(loss)
}

fn draw(random: &mut StdRng) -> Fate {
    match random.random_range(0..10) {
        0..3 => Fate::Nothing,
        3..7 => Fate::Prefix,
        7..9 => Fate::Pages,
        _ => Fate::Everything,
    }
}

/// Where each inode below some folders has a name.
fn inodes(folders: &[&Path]) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| (*folder).to_owned()).collect();
    while let Some(folder) = waiting.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            } else {
                found.insert(entry.metadata()?.ino(), entry.path());
            }
        }
    }
    Ok(found)
}

/// Undoes what a file loses; gives how many changes that are.
fn forget(path: &Path, changes: &[Change], fate: Fate, random: &mut StdRng) -> io::Result<usize> {
    let file = File::options().read(true).write(true).open(path)?;
    // What a file system has not written of a manifest reads as zeros, which a start recognises; other bytes there, or fewer
    // zeros than it can tell from a record's own, are taken for damage (tests/README.md, known limits): not drawn here.
    let is_manifest = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST-"));
    let only_writes = !is_manifest && changes.iter().all(|change| change.length.is_some());
    match fate {
        Fate::Everything => Ok(0),
        Fate::Nothing => undo(&file, changes).map(|()| changes.len()),
        Fate::Pages if only_writes => keep_pages(&file, changes, random),
        Fate::Prefix | Fate::Pages => {
            let kept = random.random_range(0..changes.len());
            undo(&file, &changes[kept + 1..])?;
            tear(&file, &changes[kept], is_manifest, random)?;
            Ok(changes.len() - kept)
        }
    }
}

fn undo(file: &File, changes: &[Change]) -> io::Result<()> {
    for change in changes.iter().rev() {
        file.write_all_at(&change.old, change.offset)?;
        file.set_len(change.size)?;
    }
    Ok(())
}

/// Undoes a write but for its beginning; what was appended may end in a block of something else.
fn tear(file: &File, change: &Change, is_manifest: bool, random: &mut StdRng) -> io::Result<()> {
    let Some(length) = change.length else { return undo(file, std::slice::from_ref(change)) };
    let end = (change.offset + length).min(file.metadata()?.len());
    let mut new = vec![0; usize::try_from(end.saturating_sub(change.offset)).expect("a write fits into memory")];
    file.read_exact_at(&mut new, change.offset)?;
    undo(file, std::slice::from_ref(change))?;
    // Sectors are whole where something stood; an end that was appended is cut anywhere.
    let appended = change.offset + length > change.size;
    let mut cut = random.random_range(0..=end);
    cut = cut.max(change.offset);
    if cut == change.offset {
        cut += random.random_range(0..=new.len() as u64);
    }
    if !appended || cut < change.size {
        cut = (cut / SECTOR * SECTOR).max(change.offset);
    }
    let kept = usize::try_from(cut - change.offset).expect("a write fits into memory");
    file.write_all_at(&new[..kept], change.offset)?;
    if appended && cut >= change.size && random.random_bool(0.5) {
        let rest = usize::try_from((end - cut).min(SECTOR)).expect("a sector fits");
        if is_manifest && rest < HOLE {
            return Ok(());
        }
        let mut garbage = vec![0; rest];
        if !is_manifest && random.random_bool(0.5) {
            random.fill_bytes(&mut garbage);
        }
        file.write_all_at(&garbage, cut)?;
    }
    Ok(())
}

/// Keeps some of the pages that were written, in no order: a later one may be there without an earlier one.
fn keep_pages(file: &File, changes: &[Change], random: &mut StdRng) -> io::Result<usize> {
    let length = file.metadata()?.len();
    let ends = changes.iter().map(|change| change.offset + change.length.unwrap_or(0));
    let (start, end) = (changes.iter().map(|change| change.offset).min(), ends.max().map(|end| end.min(length)));
    let (Some(start), Some(end)) = (start, end) else { return Ok(0) };
    let pages = start / PAGE..end.div_ceil(PAGE);
    if end <= start || pages.end - pages.start > MAX_PAGES {
        return undo(file, changes).map(|()| changes.len());
    }
    let mut new = vec![0; usize::try_from(end - start).expect("what was written fits into memory")];
    file.read_exact_at(&mut new, start)?;
    undo(file, changes)?;
    for page in pages {
        if random.random_bool(0.5) {
            let (from, to) = ((page * PAGE).max(start), ((page + 1) * PAGE).min(end));
            let part = usize::try_from(from - start).expect("fits")..usize::try_from(to - start).expect("fits");
            file.write_all_at(&new[part], from)?;
        }
    }
    Ok(changes.len())
}

/// The changes to names that are undone, the last one first. Names that one change touches hang together; of each group
/// the first changes stay and the later ones go.
fn undone_names<'a>(names: &'a [(u64, Name)], all: bool, random: &mut StdRng) -> Vec<&'a Name> {
    let mut group_of: BTreeMap<&Path, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, (_, name)) in names.iter().enumerate() {
        let paths = name.paths();
        let known: Vec<usize> = paths.iter().filter_map(|path| group_of.get(path).copied()).collect();
        let group = *known.first().unwrap_or(&groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        for merged in known.into_iter().skip(1).filter(|merged| *merged != group) {
            let moved = std::mem::take(&mut groups[merged]);
            groups[group].extend(moved);
            group_of.values_mut().filter(|known| **known == merged).for_each(|known| *known = group);
        }
        groups[group].push(place);
        paths.into_iter().for_each(|path| _ = group_of.insert(path, group));
    }
    let mut undone = Vec::new();
    for mut group in groups {
        group.sort_unstable();
        let kept = if all { 0 } else { random.random_range(0..=group.len()) };
        undone.extend(group.split_off(kept));
    }
    undone.sort_unstable();
    undone.into_iter().rev().map(|place| &names[place].1).collect()
}

/// Undoes one. The process may have died before it did what it had announced: then there is nothing to undo.
fn undo_name(name: &Name) -> io::Result<()> {
    let is = |path: &Path, inode: u64| fs::symlink_metadata(path).is_ok_and(|found| found.ino() == inode);
    match name {
        Name::Created { path, inode } if is(path, *inode) => fs::remove_file(path),
        Name::Folder { path } if path.is_dir() => fs::remove_dir_all(path),
        Name::Renamed { from, to, inode, replaced } if is(to, *inode) => {
            if from.parent().is_some_and(Path::is_dir) {
                fs::rename(to, from)?;
            }
            match replaced {
                Some(replaced) if replaced.exists() => fs::hard_link(replaced, to),
                _ => Ok(()),
            }
        }
        Name::Removed { path, aside } => match fs::hard_link(aside, path) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
