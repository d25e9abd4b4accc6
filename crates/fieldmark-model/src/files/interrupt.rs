//! What is on the disk for a moment only, so that a program that a signal ends can leave nothing behind.
//!
//! One lock is held while such a file is made, and while a file gets its final name. A program that is
//! about to exit takes that lock for good and removes what is left: no file is then half-written or half-renamed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What to remove if the program ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leftover {
    /// A file.
    File,
    /// A folder with all that is in it.
    Folder,
    /// A folder, if it is empty.
    EmptyFolder,
}

type Leftovers = BTreeMap<PathBuf, Leftover>;

static LEFTOVERS: Mutex<Leftovers> = Mutex::new(BTreeMap::new());

/// The leftovers, and the right to change files that no signal may interrupt.
pub(super) fn hold() -> MutexGuard<'static, Leftovers> {
    LEFTOVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does work that [`stop_writing`] waits for: a few system calls, and no call of this module's functions.
pub fn uninterrupted<T>(work: impl FnOnce() -> T) -> T {
    let _held = hold();
    work()
}

/// Removes every leftover, and lets no file be written from now on: whoever tries to waits for ever. For a program that
/// exits right afterwards.
pub fn stop_writing() {
    let held = hold();
    remove(&held);
    std::mem::forget(held);
}

/// Inner folders come before those that they are in; what cannot be removed is left.
fn remove(leftovers: &Leftovers) {
    for (path, leftover) in leftovers.iter().rev() {
        let _ = match leftover {
            Leftover::File => std::fs::remove_file(path),
            Leftover::Folder => std::fs::remove_dir_all(path),
            Leftover::EmptyFolder => std::fs::remove_dir(path),
        };
    }
}

/// Something that is removed by [`stop_writing`], as long as this value lives.
#[derive(Debug)]
pub struct Registered(PathBuf);

impl Registered {
    /// Registers what is, or is about to be, at this path.
    pub fn new(path: &Path, leftover: Leftover) -> Self {
        hold().insert(path.into(), leftover);
        Self(path.into())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        hold().remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_removed_from_the_inside_out_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for made in ["empty/inner", "full/inner", "scratch/inner"] {
            std::fs::create_dir_all(path(made)).unwrap();
        }
        for file in ["file", "full/inner/result", "scratch/inner/rows"] {
            std::fs::write(path(file), "x").unwrap();
        }
        let leftovers = [
            ("empty", Leftover::EmptyFolder),
            ("empty/inner", Leftover::EmptyFolder),
            ("full/inner", Leftover::EmptyFolder),
            ("scratch", Leftover::Folder),
            ("file", Leftover::File),
            ("missing", Leftover::File),
        ];
        remove(&leftovers.map(|(name, leftover)| (path(name), leftover)).into());
        let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["full"]);
        assert!(path("full/inner/result").exists());
    }

    #[test]
    fn what_is_done_with_is_no_longer_registered() {
        let path = Path::new("a place that no other test registers");
        let registered = Registered::new(path, Leftover::File);
        assert_eq!(hold().get(path), Some(&Leftover::File));
        drop(registered);
        assert_eq!(uninterrupted(|| 7), 7);
        assert_eq!(hold().get(path), None);
    }
}
