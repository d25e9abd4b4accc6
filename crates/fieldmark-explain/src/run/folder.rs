//! The folder of a run: one run at a time works in it, and it removes only files of its own.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use fieldmark_model::{
    error::{Error, Result},
    files::{Leftover, Registered, prepare_folder, remove_leftovers},
};

/// A file that is there, and locked, while a run works in the folder.
const LOCK: &str = ".fieldmark.lock";

/// How often a folder is made that others remove at the same moment.
const MOST_ATTEMPTS: usize = 1000;

/// A folder that belongs to this run as long as this value lives. It is locked by a file in it, `.fieldmark.lock`, against
/// runs of other processes and of this one; a lock that a killed run left is free.
pub struct RunFolder {
    path: PathBuf,
    // In this order: folders can be removed when the lock is gone.
    inner: Vec<NewFolders>,
    _lock: Lock,
    _new: NewFolders,
}

impl RunFolder {
    /// Makes the folder if it is missing, locks it, and removes what killed runs left half-written in it. A run that is
    /// refused changes nothing.
    ///
    /// # Errors
    /// [`Error::Run`] if another run has it, [`Error::Write`] if it cannot be made or written.
    pub fn claim(path: &Path) -> Result<Self> {
        let fail = |source| Error::Write { path: path.into(), source };
        let mut new = NewFolders::default();
        for _ in 0..MOST_ATTEMPTS {
            new.make(path).map_err(fail)?;
            match Lock::take(&path.join(LOCK)).map_err(fail)? {
                Attempt::Taken => {
                    let reason = "another run is writing it".into();
                    return Err(Error::Run { path: path.into(), reason });
                }
                // Whoever had the folder removed it a moment ago.
                Attempt::Gone => {}
                Attempt::Mine(lock) => {
                    remove_leftovers(path)?;
                    return Ok(Self { path: path.into(), inner: Vec::new(), _lock: lock, _new: new });
                }
            }
        }
        Err(fail(ErrorKind::NotFound.into()))
    }

    /// Makes a folder inside, and removes what killed runs left half-written there. It goes with the run if nothing is
    /// written into it.
    ///
    /// # Errors
    /// [`Error::Write`] if it cannot be made or written.
    pub fn prepare_inner(&mut self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        self.inner.push(NewFolders::prepare(&path)?);
        remove_leftovers(&path)?;
        Ok(path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Folders that this run made, each before those inside it. Those that stay empty are removed with this value.
#[derive(Default)]
pub struct NewFolders(Vec<Registered>, Vec<PathBuf>);

impl NewFolders {
    /// Makes a folder and those that it is in, and makes sure that files can be created in it.
    ///
    /// # Errors
    /// [`Error::Write`] if they cannot be made, or nothing can be created in the folder.
    pub fn prepare(folder: &Path) -> Result<Self> {
        let mut new = Self::default();
        new.make(folder).map_err(|source| Error::Write { path: folder.into(), source })?;
        prepare_folder(folder)?;
        Ok(new)
    }

    /// Makes what is missing of a folder and those that it is in.
    fn make(&mut self, folder: &Path) -> io::Result<()> {
        let missing = folder.ancestors().take_while(|one| !one.as_os_str().is_empty() && !one.is_dir());
        let mut missing: Vec<&Path> = missing.collect();
        while let Some(folder) = missing.pop() {
            match std::fs::create_dir(folder) {
                Ok(()) => {
                    self.0.push(Registered::new(folder, Leftover::EmptyFolder));
                    self.1.push(folder.into());
                }
                // Another program may have made it at the same moment.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
                // Or removed those that it is in: whoever asks tries again.
                Err(error) if error.kind() == ErrorKind::NotFound && !missing.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for NewFolders {
    fn drop(&mut self) {
        // A folder that holds anything cannot be removed, and neither can one that holds that folder.
        let _ = self.1.iter().rev().try_for_each(std::fs::remove_dir);
    }
}

/// The right to write in a folder.
struct Lock {
    file: File,
    path: PathBuf,
    _registered: Registered,
}

/// What trying to get it gives.
enum Attempt {
    Mine(Lock),
    /// Another run has it.
    Taken,
    /// The folder, or the file, was removed meanwhile.
    Gone,
}

impl Lock {
    fn take(path: &Path) -> io::Result<Attempt> {
        // Reading, too: a named pipe in the file's place is not waited for.
        let mut options = OpenOptions::new();
        let file = match options.read(true).write(true).create(true).truncate(false).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Attempt::Gone),
            file => file?,
        };
        // A file system without locks cannot refuse anybody.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Ok(Attempt::Taken);
        }
        if !is_at(&file, path) {
            return Ok(Attempt::Gone);
        }
        let registered = Registered::new(path, Leftover::File);
        Ok(Attempt::Mine(Self { file, path: path.into(), _registered: registered }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed before it is unlocked: who opened it meanwhile finds that it is gone. Where that cannot be found out, it
        // stays.
        if cfg!(unix) && is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a file that is open is the one at a path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let (open, there) = (file.metadata().map(inode), path.symlink_metadata().map(inode));
    matches!((open, there), (Ok(open), Ok(there)) if open == there)
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_run_and_goes_if_nothing_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/out");
        let mut first = RunFolder::claim(&path).unwrap();
        first.prepare_inner("inner").unwrap();
        let refused = RunFolder::claim(&path).err().unwrap().to_string();
        assert!(refused.ends_with("out: another run is writing it"), "{refused}");
        assert!(path.join("inner").is_dir(), "the refused one leaves all as it is");
        drop(first);
        assert!(!folder.path().join("new").exists());
        let mut second = RunFolder::claim(&path).unwrap();
        let inner = second.prepare_inner("inner").unwrap();
        std::fs::write(inner.join("result"), "x").unwrap();
        drop(second);
        assert!(path.join("inner/result").exists() && !path.join(LOCK).exists());
    }

    #[test]
    fn a_lock_that_a_killed_run_left_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        for leftover in [LOCK, ".fieldmark-1.part"] {
            std::fs::write(folder.path().join(leftover), "").unwrap();
        }
        drop(RunFolder::claim(folder.path()).unwrap());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn runs_that_start_at_once_are_never_both_in_the_folder_and_never_both_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        for round in 0..300 {
            let start = std::sync::Barrier::new(4);
            let claimed: Vec<_> = std::thread::scope(|scope| {
                let one = || {
                    scope.spawn(|| {
                        start.wait();
                        RunFolder::claim(&path).map_err(|error| error.to_string())
                    })
                };
                let threads: Vec<_> = (0..4).map(|_| one()).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let mine = claimed.iter().filter(|claim| claim.is_ok()).count();
            let mut refused = claimed.iter().filter_map(|claim| claim.as_ref().err());
            assert!(refused.all(|error| error.ends_with("another run is writing it")), "round {round}");
            assert_eq!(mine, 1, "round {round}");
            drop(claimed);
            assert_no_files(folder.path());
            let _ = std::fs::remove_dir_all(folder.path().join("a"));
        }
    }

    #[test]
    fn runs_that_come_and_go_never_lose_the_folder_under_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let works = |path: &Path| {
            for _ in 0..200 {
                if let Ok(mut run) = RunFolder::claim(path) {
                    let inner = run.prepare_inner("c").unwrap();
                    std::fs::write(inner.join("result"), "x").unwrap();
                    std::fs::remove_file(inner.join("result")).unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            (0..3).for_each(|_| drop(scope.spawn(|| works(&path))));
        });
        assert_no_files(folder.path());
    }

    /// A folder may stay if the run that made it was refused by one that came between.
    fn assert_no_files(folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            assert!(path.is_dir(), "{} is left", path.display());
            assert_no_files(&path);
        }
    }
}
