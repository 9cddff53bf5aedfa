//! The end of a snapshot file that a newer one has replaced.
//!
//! Where a file system frees a gigabyte at once, whoever syncs another file waits for it: beside 800 MB four syncs in a row
//! took 42 to 87 ms each. So the file is freed piece by piece. Whoever reads one holds a shared lock on it; then it is freed when the
//! last of them is through, and at once.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Bytes that are freed together: a sync of another file waits for some 10 ms.
const PIECE: u64 = 8 << 20;
/// Between two pieces, so that those who sync come in between.
const PAUSE: Duration = Duration::from_millis(5);

/// Opens a file to be read.
///
/// # Errors
/// `NotFound` also when it is being removed.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    let locked = flock(&file, FlockOperation::NonBlockingLockShared);
    // Without locks nobody frees in pieces either.
    if locked == Err(Errno::WOULDBLOCK) || file.metadata()?.nlink() == 0 {
        let message = format!("{} has been replaced by a newer snapshot", path.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, message));
    }
    Ok(file)
}

/// Removes a file, unless somebody else has: one is built while another is installed. It takes as long as the file is large:
/// to be called where that is no harm.
///
/// # Errors
/// When it cannot be opened, or its name not removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let opened = File::options().write(true).open(path);
    // From here on nobody comes to it by its name, and who reads it has the lock or will not get it.
    let file = match opened.and_then(|file| fs::remove_file(path).map(|()| file)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let mut length = file.metadata()?.len();
    while length > PIECE {
        length -= PIECE;
        if file.set_len(length).is_err() {
            // What is left goes with this handle.
            break;
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of some pieces, and a handle that takes no lock, which sees what becomes of it.
    fn some_pieces(folder: &Path) -> (std::path::PathBuf, File) {
        let path = folder.join("1.snap");
        let file = File::create_new(&path).unwrap();
        file.set_len(3 * PIECE + 1).unwrap();
        (path, file)
    }

    #[test]
    fn what_nobody_reads_is_freed_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let (path, seen) = some_pieces(folder.path());
        remove(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(seen.metadata().unwrap().len(), 1, "all pieces but the last, which goes with the file");
    }

    #[test]
    fn what_somebody_reads_stays_whole_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let (path, seen) = some_pieces(folder.path());
        let _read = open(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(seen.metadata().unwrap().len(), 3 * PIECE + 1);
    }

    /// Two that remove at a time would have ended the process.
    #[test]
    fn what_is_gone_already_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("1.snap")).unwrap();
    }

    #[test]
    fn who_comes_while_it_is_removed_does_not_find_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, removes) = some_pieces(folder.path());
        flock(&removes, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
