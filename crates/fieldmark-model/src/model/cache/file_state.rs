//! What the file system says of a file: it changes whenever the file does, so a file that is as it was need not be
//! read again.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A file that changed a moment ago may change again without a later time: clocks of file systems are coarse.
const CLOCK_GRAIN: Duration = Duration::from_secs(2);

/// A file as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    /// Its place, with all links followed.
    pub(crate) path: PathBuf,
    /// Bytes in it.
    pub(crate) size: u64,
    modified: SystemTime,
    /// Device, inode and the time of the last change of anything, which programs cannot set; empty where the system
    /// has no such thing.
    inode: Vec<i128>,
}

impl FileState {
    /// The file as it is.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let metadata = path.metadata()?;
        Ok(Self { path, size: metadata.len(), modified: metadata.modified()?, inode: inode(&metadata) })
    }

    /// Whether the file is still as it was.
    pub(crate) fn is_current(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| now == *self)
    }

    /// Whether the file has the same bytes still, as far as its size, its time and its inode say. Permissions and further
    /// names of it do not count.
    pub(crate) fn has_same_content(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| {
            (now.size, now.modified, now.inode.get(..2)) == (self.size, self.modified, self.inode.get(..2))
        })
    }

    /// Whether the last change is so long ago that a later one will show.
    pub(crate) fn is_settled(&self) -> bool {
        SystemTime::now().duration_since(self.modified).is_ok_and(|age| age > CLOCK_GRAIN)
    }
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> Vec<i128> {
    use std::os::unix::fs::MetadataExt;
    vec![metadata.dev().into(), metadata.ino().into(), metadata.ctime().into(), metadata.ctime_nsec().into()]
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> Vec<i128> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_name_is_no_other_content() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("file"), folder.path().join("new"));
        std::fs::write(&path, "one").unwrap();
        let state = FileState::of(&path).unwrap();
        std::fs::hard_link(&path, &new).unwrap();
        assert!(state.has_same_content());
        std::fs::remove_file(&new).unwrap();
        std::fs::write(&new, "one").unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(!state.has_same_content(), "another file");
        std::fs::remove_file(&path).unwrap();
        assert!(!state.has_same_content());
    }

    #[test]
    fn a_change_shows_and_no_change_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let state = FileState::of(&path).unwrap();
        assert!(state.is_current() && !state.is_settled());
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        std::fs::write(&path, "two").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        assert!(!state.is_current());
        assert!(FileState::of(&path).unwrap().is_settled());
        std::fs::remove_file(&path).unwrap();
        assert!(!state.is_current());
    }

    #[cfg(unix)]
    #[test]
    fn a_change_whose_time_was_set_back_shows_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let state = FileState::of(&path).unwrap();
        // Longer than the clock of any file system needs to move.
        std::thread::sleep(Duration::from_millis(50));
        std::fs::write(&path, "two").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(state.modified).unwrap();
        assert!(!state.is_current());
    }
}
