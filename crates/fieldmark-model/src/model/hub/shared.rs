//! Keeps contents once for all repositories of a cache, as Python's huggingface_hub does from version 2 on:
//!
//! ```text
//! blobs/.huggingface-shared-blobs    the mark of the store, with the number of its layout
//! blobs/ab/ab12...                   contents, under the hash of Xet's storage; read-only
//! blobs/ab/ab12....refs              which repositories link there, a path for each line
//! blobs/ab/ab12....lock              held while one of the three is changed
//! models--org--name/blobs/<etag>     a link to the contents
//! ```
//!
//! The store saves space and transfers, nothing else: any failure here leaves the contents in their repository.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cache::is_xet_hash;
use super::links::{SHARED_LAYOUT, SHARED_MARK, is_shared_store};
use super::open::open_itself;
use super::store::symlink;

const LOCK_POLL: Duration = Duration::from_millis(20);
/// The lock is held for a few system calls.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// The contents that all repositories of a cache share.
pub(super) struct SharedStore {
    cache: PathBuf,
}

impl SharedStore {
    pub(super) fn new(cache: &Path) -> Self {
        SharedStore { cache: cache.to_owned() }
    }

    /// Links a repository's blob to contents that are in the store; `false` if they are not, or not usable.
    pub(super) fn link(&self, hash: &str, size: u64, blob: &Path) -> bool {
        is_xet_hash(hash)
            && is_shared_store(&self.folder())
            && self.try_link(hash, size, blob).unwrap_or(false)
    }

    /// Moves a repository's blob, which was checked, into the store, and links it from there.
    pub(super) fn publish(&self, hash: &str, size: u64, blob: &Path) -> bool {
        is_xet_hash(hash) && self.try_publish(hash, size, blob).is_ok()
    }

    fn try_link(&self, hash: &str, size: u64, blob: &Path) -> io::Result<bool> {
        let entry = self.entry(hash);
        let _lock = lock(&entry)?;
        if !is_usable(&entry, size) {
            return Ok(false);
        }
        self.refer(&entry, blob)?;
        replace_by_link(blob, hash)?;
        Ok(true)
    }

    fn try_publish(&self, hash: &str, size: u64, blob: &Path) -> io::Result<()> {
        let metadata = blob.symlink_metadata()?;
        if !metadata.is_file() || metadata.len() != size {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.create_store()?;
        let entry = self.entry(hash);
        let folder = entry.parent().unwrap_or(&self.cache);
        create_folder(folder, &self.cache)?;
        let _lock = lock(&entry)?;
        self.refer(&entry, blob)?;
        // What lies there may be wrong; what comes now was checked.
        let kept = blob.with_extension("kept");
        let _ = std::fs::remove_file(&kept);
        std::fs::hard_link(blob, &kept)?;
        let moved = make_read_only(&kept, &self.cache).and_then(|()| std::fs::rename(&kept, &entry));
        moved.inspect_err(|_| drop(std::fs::remove_file(&kept)))?;
        replace_by_link(blob, hash)
    }

    fn folder(&self) -> PathBuf {
        self.cache.join("blobs")
    }

    fn entry(&self, hash: &str) -> PathBuf {
        self.folder().join(&hash[..2]).join(hash)
    }

    /// Makes the store; a folder of that name that is not one is left alone.
    fn create_store(&self) -> io::Result<()> {
        let folder = self.folder();
        if is_shared_store(&folder) {
            return Ok(());
        }
        create_folder(&folder, &self.cache)?;
        if std::fs::read_dir(&folder)?.next().is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a folder of other things"));
        }
        let mut mark = tempfile::NamedTempFile::new_in(&folder)?;
        mark.write_all(SHARED_LAYOUT.as_bytes())?;
        make_read_only(mark.path(), &self.cache)?;
        mark.persist(folder.join(SHARED_MARK)).map(drop).map_err(|error| error.error)
    }

    /// Notes that a repository needs the contents, before its link can be seen.
    fn refer(&self, entry: &Path, blob: &Path) -> io::Result<()> {
        let place = blob.strip_prefix(&self.cache).map_err(|_| io::ErrorKind::InvalidInput)?;
        let parts: Option<Vec<&str>> = place.iter().map(|part| part.to_str()).collect();
        let line = parts.ok_or(io::ErrorKind::InvalidInput)?.join("/") + "\n";
        let path = with_ending(entry, ".refs");
        let mut notes = open_itself(&path, OpenOptions::new().append(true).create(true))?;
        let _ = share(&path, 0o666);
        notes.write_all(line.as_bytes())?;
        notes.sync_all()
    }
}

fn with_ending(entry: &Path, ending: &str) -> PathBuf {
    let mut name = entry.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    entry.with_file_name(name)
}

/// Holds the lock of some contents until the file is dropped.
fn lock(entry: &Path) -> io::Result<File> {
    let path = with_ending(entry, ".lock");
    let file = open_itself(&path, OpenOptions::new().write(true).create(true).truncate(false))?;
    let _ = share(&path, 0o666);
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_POLL);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_usable(entry: &Path, size: u64) -> bool {
    let found = entry.symlink_metadata();
    found.is_ok_and(|found| found.is_file() && found.len() == size) && File::open(entry).is_ok()
}

/// Puts a link to the store in a blob's place, at once.
fn replace_by_link(blob: &Path, hash: &str) -> io::Result<()> {
    let (Some(folder), Some(name)) = (blob.parent(), blob.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let target = Path::new("../../blobs").join(&hash[..2]).join(hash);
    let prefix = format!(".{}.", name.to_string_lossy());
    let link = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".shared")
        .make_in(folder, |path| symlink(&target, path))?;
    link.persist(blob).map(drop).map_err(|error| error.error)
}

/// Makes a folder that those who may use the cache may use.
fn create_folder(folder: &Path, cache: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Ok(()) => share(folder, mode(cache)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if folder.symlink_metadata()?.is_dir() {
                Ok(())
            } else {
                Err(error)
            }
        }
        Err(error) => Err(error),
    }
}

/// Those who may enter the cache may read the file, and nobody may change it.
fn make_read_only(path: &Path, cache: &Path) -> io::Result<()> {
    let mode = mode(cache);
    let group = if mode & 0o010 == 0 { 0 } else { 0o040 };
    let others = if mode & 0o001 == 0 { 0 } else { 0o004 };
    share(path, 0o400 | group | others)
}

#[cfg(unix)]
fn mode(cache: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    cache.metadata().map_or(0o700, |metadata| metadata.permissions().mode() & 0o3777)
}

#[cfg(unix)]
fn share(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn mode(_cache: &Path) -> u32 {
    0
}

/// Other systems keep who may do what apart from the file.
#[cfg(not(unix))]
fn share(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "b6e273a11f6f470211d67e4b2e5c5b14175aefb5b29e2b50a3b8e55da8d8783e";

    /// A cache with one blob for each of these repositories.
    fn cache(repositories: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let cache = tempfile::tempdir().unwrap();
        let blobs = repositories.iter().map(|name| {
            let folder = cache.path().join(name).join("blobs");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("etag"), "contents").unwrap();
            folder.join("etag")
        });
        let blobs = blobs.collect();
        (cache, blobs)
    }

    #[test]
    fn contents_are_kept_once_and_linked_from_every_repository() {
        let (cache, blobs) = cache(&["models--a--b", "models--c--d"]);
        let store = SharedStore::new(cache.path());
        assert!(!store.link(HASH, 8, &blobs[1]), "there is no store yet");
        assert!(store.publish(HASH, 8, &blobs[0]));
        assert!(store.link(HASH, 8, &blobs[1]));
        let entry = cache.path().join("blobs/b6").join(HASH);
        for blob in &blobs {
            assert_eq!(std::fs::read_link(blob).unwrap(), Path::new("../../blobs/b6").join(HASH));
            assert_eq!(std::fs::read(blob).unwrap(), b"contents");
        }
        assert!(entry.is_file() && !entry.is_symlink() && entry.metadata().unwrap().permissions().readonly());
        let references = std::fs::read_to_string(with_ending(&entry, ".refs")).unwrap();
        assert_eq!(references, "models--a--b/blobs/etag\nmodels--c--d/blobs/etag\n");
        let left: Vec<_> = std::fs::read_dir(blobs[0].parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn contents_of_another_size_are_not_used_but_replaced() {
        let (cache, blobs) = cache(&["models--a--b", "models--c--d"]);
        let store = SharedStore::new(cache.path());
        assert!(store.publish(HASH, 8, &blobs[0]));
        assert!(!store.link(HASH, 9, &blobs[1]));
        std::fs::write(&blobs[1], "contents9").unwrap();
        assert!(store.publish(HASH, 9, &blobs[1]));
        assert_eq!(std::fs::read(&blobs[0]).unwrap(), b"contents9");
    }

    #[test]
    fn a_folder_of_other_things_is_no_store() {
        let (cache, blobs) = cache(&["models--a--b"]);
        std::fs::create_dir(cache.path().join("blobs")).unwrap();
        std::fs::write(cache.path().join("blobs/mine"), "x").unwrap();
        assert!(!SharedStore::new(cache.path()).publish(HASH, 8, &blobs[0]));
        assert!(!blobs[0].is_symlink());
        assert_eq!(std::fs::read(&blobs[0]).unwrap(), b"contents");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let (cache, blobs) = cache(&["models--a--b", "models--c--d"]);
        let store = SharedStore::new(cache.path());
        assert!(store.publish(HASH, 8, &blobs[0]));
        let other = cache.path().join("other");
        std::fs::write(&other, "kept").unwrap();
        let references = with_ending(&store.entry(HASH), ".refs");
        std::fs::remove_file(&references).unwrap();
        std::os::unix::fs::symlink(&other, &references).unwrap();
        assert!(!store.link(HASH, 8, &blobs[1]));
        assert_eq!(std::fs::read(&other).unwrap(), b"kept");
    }
}
