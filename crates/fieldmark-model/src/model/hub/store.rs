//! Puts files into the shared Hugging Face cache so that neither a crash nor another process can leave a broken
//! one: contents are renamed into place under a lock, and links, marks and references come after them.
//!
//! A cache may be shared with people who are not trusted. Nothing is written through a link that lies in it: a link in
//! the place of something that is to be written is replaced, or refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tempfile::NamedTempFile;

use super::cache::RepoCache;
use super::open::open_itself;
use crate::error::{Error, Result};

/// How often a lock that another process holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Where the contents of one file are kept: complete, while they arrive, and the lock between.
#[derive(Debug)]
pub(super) struct BlobPaths {
    pub(super) blob: PathBuf,
    pub(super) partial: PathBuf,
    lock: PathBuf,
}

/// A lock that is held until this is dropped. The file stays: removing it would part those who wait for it.
#[derive(Debug)]
pub(super) struct HeldLock {
    _file: File,
}

impl RepoCache {
    /// Makes the directories for contents with this etag, which must be a plain file name.
    pub(super) fn blob(&self, etag: &str) -> Result<BlobPaths> {
        let blobs = self.root.join("blobs");
        let locks = self.root.with_file_name(".locks").join(self.root.file_name().unwrap_or_default());
        create_directory(&blobs)?;
        create_directory(&locks)?;
        Ok(BlobPaths {
            blob: blobs.join(etag),
            partial: blobs.join(format!("{etag}.incomplete")),
            lock: locks.join(format!("{etag}.lock")),
        })
    }

    /// Makes a file of a commit appear, once its blob is complete.
    pub(super) fn publish(&self, commit: &str, file: &str, blob: &Path) -> Result<()> {
        let pointer = self.pointer(commit, file);
        if self.has(commit, file) {
            return Ok(());
        }
        create_parent(&pointer)?;
        // A link whose blob was removed, or an empty file, is in the way of the new one.
        remove(&pointer)?;
        let mut target = PathBuf::from("../..");
        target.extend(file.matches('/').map(|_| ".."));
        target.extend(["blobs".as_ref(), blob.file_name().unwrap_or_default()]);
        // Without symbolic links no other snapshot can need the blob where it is, so it may move.
        symlink(&target, &pointer)
            .or_else(|_| std::fs::hard_link(blob, &pointer))
            .or_else(|_| std::fs::rename(blob, &pointer))
            .or_else(|error| if self.has(commit, file) { Ok(()) } else { Err(error) })
            .map_err(writing(&pointer))
    }

    /// Notes that a commit has no file of this name, so that nobody need ask again.
    pub(super) fn mark_absent(&self, commit: &str, file: &str) -> Result<()> {
        let mark = self.absence_mark(commit, file);
        create_parent(&mark)?;
        match File::create_new(&mark) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(writing(&mark)(error)),
            _ => Ok(()),
        }
    }

    /// Notes which commit a branch or tag stands for. A commit's own hash needs no note.
    pub(super) fn write_reference(&self, revision: &str, commit: &str) -> Result<()> {
        let path = self.root.join("refs").join(revision);
        let noted = || !path.is_symlink() && std::fs::read_to_string(&path).is_ok_and(|text| text == commit);
        if revision == commit || noted() {
            return Ok(());
        }
        create_parent(&path)?;
        let folder = path.parent().unwrap_or(&self.root);
        let mut written = temporary(".reference", "").tempfile_in(folder).map_err(writing(&path))?;
        io::Write::write_all(&mut written, commit.as_bytes()).map_err(writing(&path))?;
        written.persist(&path).map(drop).map_err(|error| writing(&path)(error.error))
    }
}

impl BlobPaths {
    /// Waits until no other process writes this blob. It waits as long as the other's partial file keeps
    /// changing, and `patience` longer.
    pub(super) fn lock(&self, patience: Duration) -> Result<HeldLock> {
        let file = self.open_lock().map_err(writing(&self.lock))?;
        let mut seen = self.activity();
        let mut changed = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(HeldLock { _file: file }),
                Err(TryLockError::WouldBlock) => {}
                // On a file system without locks the hash is what guards the blob.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(HeldLock { _file: file });
                }
                Err(TryLockError::Error(source)) => return Err(writing(&self.lock)(source)),
            }
            std::thread::sleep(LOCK_POLL);
            let now = self.activity();
            if now != seen {
                (seen, changed) = (now, Instant::now());
            } else if changed.elapsed() > patience {
                let reason = "another process holds the lock, but writes nothing";
                return Err(writing(&self.lock)(io::Error::new(io::ErrorKind::TimedOut, reason)));
            }
        }
    }

    /// Another user's lock can perhaps only be read, which is enough to hold it.
    fn open_lock(&self) -> io::Result<File> {
        let writable = open_itself(&self.lock, OpenOptions::new().write(true).create(true).truncate(false));
        match writable {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !self.lock.is_symlink() => {
                open_itself(&self.lock, OpenOptions::new().read(true))
            }
            opened => opened,
        }
    }

    /// Size and time of the last change of everything that may be this blob's partial file: newer versions of
    /// the Python library put something random between the etag and the ending.
    fn activity(&self) -> Vec<(PathBuf, u64, Option<SystemTime>)> {
        let (Some(folder), Some(etag)) = (self.blob.parent(), self.blob.file_name()) else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().starts_with(etag.as_encoded_bytes())
        });
        let describe = |entry: std::fs::DirEntry| {
            let metadata = entry.metadata().ok()?;
            Some((entry.path(), metadata.len(), metadata.modified().ok()))
        };
        let mut found: Vec<_> = ours.filter_map(describe).collect();
        found.sort();
        found
    }

    /// Bytes that have arrived. A link in their place counts as none.
    pub(super) fn partial_length(&self) -> u64 {
        let found = self.partial.symlink_metadata();
        found.ok().filter(std::fs::Metadata::is_file).map_or(0, |metadata| metadata.len())
    }

    /// Opens what has arrived, for more at its end; or a new, empty file in its place.
    pub(super) fn open_partial(&self, keep: bool) -> Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true);
        if keep {
            return open_itself(&self.partial, &options).map_err(writing(&self.partial));
        }
        self.discard()?;
        options.create_new(true).open(&self.partial).map_err(writing(&self.partial))
    }

    /// A file of another name for contents that do not arrive in order; it goes with the value.
    pub(super) fn another_partial(&self) -> Result<NamedTempFile> {
        let (Some(folder), Some(etag)) = (self.blob.parent(), self.blob.file_name()) else {
            return Err(writing(&self.blob)(io::ErrorKind::InvalidInput.into()));
        };
        let prefix = format!("{}.", etag.to_string_lossy());
        temporary(&prefix, ".incomplete").tempfile_in(folder).map_err(writing(&self.partial))
    }

    /// Forgets what has arrived.
    pub(super) fn discard(&self) -> Result<()> {
        remove(&self.partial)
    }

    /// Removes contents that are not what their name says.
    pub(super) fn forget_blob(&self) -> Result<()> {
        remove(&self.blob)
    }

    /// Puts what has arrived, and was checked, in its place.
    pub(super) fn complete(&self) -> Result<()> {
        std::fs::rename(&self.partial, &self.blob).map_err(writing(&self.blob))
    }

    /// Puts what has arrived in another file, and was checked, in its place.
    pub(super) fn complete_from(&self, arrived: NamedTempFile) -> Result<()> {
        File::open(arrived.path()).and_then(|file| file.sync_all()).map_err(writing(&self.blob))?;
        arrived.persist(&self.blob).map(drop).map_err(|error| writing(&self.blob)(error.error))
    }
}

/// Removes a file or a link, if there is one.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(writing(path)(error)),
        _ => Ok(()),
    }
}

/// A temporary file that others may read, as far as the process's mask lets them.
fn temporary<'n>(prefix: &'n str, suffix: &'n str) -> tempfile::Builder<'n, 'n> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(suffix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// Turns what the operating system said about writing a path into an error that names the path.
pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Write { path: path.to_owned(), source }
}

fn create_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(writing(path))
}

fn create_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), create_directory)
}

#[cfg(unix)]
pub(super) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
pub(super) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    // Windows follows a relative link only with its own separators.
    let target: PathBuf = target.components().collect();
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
pub(super) fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
