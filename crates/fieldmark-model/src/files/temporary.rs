//! Files on their way: written where nobody looks, then named.
//!
//! Where the system has files without a name, a file that is never finished leaves no trace, however the program ends.
//! Elsewhere it has a name that says so, and is locked: whoever finds one that is not may remove it.

use std::fs::{File, Permissions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::interrupt::{Leftover, hold};
use super::layer::Layer;
use crate::error::{Error, Result};

/// The beginning and the end of a temporary file's name.
const NAME: [&str; 2] = [".fieldmark-", ".part"];

/// How many names are tried for one file.
const MOST_NAMES: usize = 1000;

/// A file that has not its name yet. One that never gets it is removed.
pub(super) struct Temporary<'l, L: Layer> {
    layer: &'l L,
    file: File,
    /// Where it is meanwhile; none if it has no name at all.
    place: Option<PathBuf>,
}

impl<'l, L: Layer> Temporary<'l, L> {
    /// Opens a new file in a folder.
    pub(super) fn create(layer: &'l L, folder: &Path) -> io::Result<Self> {
        match layer.open_unnamed(folder) {
            Ok(file) => Ok(Self { layer, file, place: None }),
            Err(_) => Self::named(layer, folder),
        }
    }

    fn named(layer: &'l L, folder: &Path) -> io::Result<Self> {
        for _ in 0..MOST_NAMES {
            let place = new_name(folder);
            let mut leftovers = hold();
            let file = match layer.open_new(&place) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            leftovers.insert(place.clone(), Leftover::File);
            drop(leftovers);
            let temporary = Self { layer, file, place: Some(place) };
            if temporary.is_claimed() {
                return Ok(temporary);
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Locks the file, so that nobody takes it for a leftover. None of these can be done if somebody just did.
    fn is_claimed(&self) -> bool {
        let is_locked = !matches!(self.file.try_lock(), Err(TryLockError::WouldBlock));
        is_locked && self.place.as_ref().is_none_or(|place| place.exists())
    }

    /// Lets others do with the file what they may do with another one.
    pub(super) fn allow(&self, permissions: Permissions) -> io::Result<()> {
        if self.file.metadata()?.permissions() == permissions {
            return Ok(());
        }
        self.layer.set_permissions(&self.file, permissions)
    }

    /// Waits until what was written is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.layer.sync(&self.file)
    }

    /// Gives the file its name, in place of another file.
    pub(super) fn publish(mut self, path: &Path) -> io::Result<()> {
        if self.place.is_none() {
            if !path.exists() && self.link(path).is_ok() {
                return Ok(());
            }
            self = self.with_name(super::write::folder_of(path))?;
        }
        let Some(place) = &self.place else { return Err(ErrorKind::NotFound.into()) };
        let mut leftovers = hold();
        self.layer.rename(place, path)?;
        leftovers.remove(place);
        drop(leftovers);
        self.place = None;
        Ok(())
    }

    fn link(&self, path: &Path) -> io::Result<()> {
        let _held = hold();
        self.layer.link(&self.file, path)
    }

    /// The same file under a name that says that it is not done; where the system gives it none, a copy.
    fn with_name(self, folder: &Path) -> io::Result<Self> {
        let place = new_name(folder);
        if self.is_claimed() {
            let file = self.file.try_clone()?;
            let mut leftovers = hold();
            if self.layer.link(&file, &place).is_ok() {
                leftovers.insert(place.clone(), Leftover::File);
                return Ok(Self { layer: self.layer, file, place: Some(place) });
            }
        }
        let mut copy = Self::named(self.layer, folder)?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        io::copy(&mut file, &mut copy)?;
        copy.allow(file.metadata()?.permissions())?;
        copy.sync()?;
        Ok(copy)
    }
}

impl<L: Layer> Write for Temporary<'_, L> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.layer.write(&self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<L: Layer> Drop for Temporary<'_, L> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let mut leftovers = hold();
            let _ = self.layer.remove(place);
            leftovers.remove(place);
        }
    }
}

/// A name that hardly another file has.
fn new_name(folder: &Path) -> PathBuf {
    // The standard library seeds every hasher anew, at random.
    let number = RandomState::new().hash_one(NAME);
    folder.join(format!("{}{number:016x}{}", NAME[0], NAME[1]))
}

/// Removes the temporary files that runs which were killed left in a folder. Those that are being written are locked,
/// and stay.
///
/// # Errors
/// [`Error::Read`] if the folder cannot be read, [`Error::Write`] if a file cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    let unreadable = |source| Error::Read { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_temporary = name.starts_with(NAME[0].as_bytes()) && name.ends_with(NAME[1].as_bytes());
        if is_temporary && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let path = entry.path();
            remove_unlocked(&path).map_err(|source| Error::Write { path, source })?;
        }
    }
    Ok(())
}

fn remove_unlocked(path: &Path) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    match File::open(path) {
        Err(error) => gone(error),
        Ok(file) if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) => Ok(()),
        // The lock is held until the file is gone.
        Ok(_file) => std::fs::remove_file(path).or_else(gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_removed_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let kept = [".fieldmark-a.txt", "fieldmark-a.part", ".fieldmark-locked.part"];
        for name in [kept[0], kept[1], kept[2], ".fieldmark-1.part", ".fieldmark-.part"] {
            std::fs::write(path(name), "half").unwrap();
        }
        std::fs::create_dir(path(".fieldmark-folder.part")).unwrap();
        let locked = File::open(path(kept[2])).unwrap();
        locked.lock().unwrap();
        remove_leftovers(folder.path()).unwrap();
        let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, [kept[0], ".fieldmark-folder.part", kept[2], kept[1]]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_has_no_name_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Temporary::create(&super::super::layer::System, folder.path()).unwrap();
        file.write_all(b"half").unwrap();
        assert!(file.place.is_some() || std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
