//! What writing a file asks of the system, step by step, so that tests can make every step fail.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The steps.
pub(super) trait Layer: Sync {
    /// Opens a new file in a folder that vanishes if it gets no name.
    fn open_unnamed(&self, folder: &Path) -> io::Result<File>;
    /// Opens a new file; fails if there is one of that name.
    fn open_new(&self, path: &Path) -> io::Result<File>;
    /// Writes some of the bytes, and returns how many.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize>;
    /// Changes who may do what with the file.
    fn set_permissions(&self, file: &File, permissions: Permissions) -> io::Result<()>;
    /// Waits until what was written is on the disk.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Gives an unnamed file a name; fails if there is a file of that name.
    fn link(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Renames a file, in place of another.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The operating system.
pub(super) struct System;

impl Layer for System {
    fn open_unnamed(&self, folder: &Path) -> io::Result<File> {
        open_unnamed(folder)
    }

    fn open_new(&self, path: &Path) -> io::Result<File> {
        // The permissions of an ordinary new file: read and write for all, less the umask.
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn set_permissions(&self, file: &File, permissions: Permissions) -> io::Result<()> {
        file.set_permissions(permissions)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        sync(file)
    }

    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        link(file, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// Waits until a file's bytes are on the disk. A file system that knows no such thing is taken at its word.
pub(super) fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput) => Ok(()),
        result => result,
    }
}

#[cfg(target_os = "linux")]
fn open_unnamed(folder: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).mode(0o666).open(folder)
}

#[cfg(not(target_os = "linux"))]
fn open_unnamed(_: &Path) -> io::Result<File> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(rustix::fs::CWD, open, rustix::fs::CWD, path, follow)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}
