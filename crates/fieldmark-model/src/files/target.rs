//! What the path of a result stands for: a file that is replaced, or something that is written to.

use std::fs::{FileType, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::write::folder_of;

/// The most links that follow each other, as on Linux.
const MOST_LINKS: usize = 40;

/// Where what is written to a path goes. Block devices are refused: what is on a disk is nothing to write over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A regular file, there or not: it is replaced whole. Links are followed, so its path may be another.
    File(PathBuf),
    /// A named pipe or a device: it is written to, and stays.
    Stream(PathBuf),
}

/// The kinds of things that a path can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Pipe,
    CharacterDevice,
    BlockDevice,
    Socket,
    Other,
}

impl Target {
    /// Follows the links of a path; nothing is opened and nothing made.
    ///
    /// # Errors
    /// If there is something that can be neither replaced nor written to, as a directory or a socket, if a file there is
    /// read-only, or if links lead nowhere.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut place = path.to_path_buf();
        for _ in 0..MOST_LINKS {
            let metadata = match std::fs::symlink_metadata(&place) {
                Err(error) if error.kind() == ErrorKind::NotFound => return new_file(place),
                metadata => metadata?,
            };
            if !metadata.is_symlink() {
                return existing(place, &metadata);
            }
            if is_descriptor(&place) {
                let metadata = std::fs::metadata(&place)?;
                return match kind(metadata.file_type()) {
                    Kind::File => Ok(Self::Stream(place)),
                    _ => existing(place, &metadata),
                };
            }
            place = folder_of(&place).join(std::fs::read_link(&place)?);
        }
        Err(io::Error::other("too many symbolic links follow each other"))
    }

    /// The path behind the links.
    pub fn path(&self) -> &Path {
        let (Self::File(path) | Self::Stream(path)) = self;
        path
    }
}

fn new_file(place: PathBuf) -> io::Result<Target> {
    let is_separator = |byte: &u8| std::path::is_separator(char::from(*byte));
    let reason = match place.as_os_str().as_encoded_bytes().last() {
        None => "expected the name of a file, found none",
        Some(last) if is_separator(last) => "expected the name of a file, found that of a directory",
        Some(_) => return Ok(Target::File(place)),
    };
    Err(io::Error::new(ErrorKind::InvalidInput, reason))
}

fn existing(place: PathBuf, metadata: &Metadata) -> io::Result<Target> {
    let kind = kind(metadata.file_type());
    if kind == Kind::File && metadata.permissions().readonly() {
        let reason = "expected a file that may be changed, found one that is read-only";
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    }
    target(place, kind)
}

fn target(place: PathBuf, kind: Kind) -> io::Result<Target> {
    let found = match kind {
        Kind::File => return Ok(Target::File(place)),
        Kind::Pipe | Kind::CharacterDevice => return Ok(Target::Stream(place)),
        Kind::Folder => "a directory",
        Kind::BlockDevice => "a block device, as disks are",
        Kind::Socket => "a socket",
        Kind::Other => "something else",
    };
    let reason = format!("expected a file, a named pipe or a character device, found {found}");
    Err(io::Error::new(ErrorKind::InvalidInput, reason))
}

/// Whether a link is the system's name of a file that a process has open. What it seems to lead to need not be there.
fn is_descriptor(link: &Path) -> bool {
    let folder = folder_of(link).canonicalize().unwrap_or_default();
    folder.starts_with("/proc") && folder.ends_with("fd")
}

#[cfg(unix)]
fn kind(file: FileType) -> Kind {
    use std::os::unix::fs::FileTypeExt;
    match file {
        _ if file.is_file() => Kind::File,
        _ if file.is_dir() => Kind::Folder,
        _ if file.is_fifo() => Kind::Pipe,
        _ if file.is_char_device() => Kind::CharacterDevice,
        _ if file.is_block_device() => Kind::BlockDevice,
        _ if file.is_socket() => Kind::Socket,
        _ => Kind::Other,
    }
}

#[cfg(not(unix))]
fn kind(file: FileType) -> Kind {
    match file {
        _ if file.is_file() => Kind::File,
        _ if file.is_dir() => Kind::Folder,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_replaced() {
        let place = || PathBuf::from("out");
        assert_eq!(target(place(), Kind::File).unwrap(), Target::File(place()));
        for written_to in [Kind::Pipe, Kind::CharacterDevice] {
            assert_eq!(target(place(), written_to).unwrap(), Target::Stream(place()));
        }
        for refused in [Kind::Folder, Kind::BlockDevice, Kind::Socket, Kind::Other] {
            assert!(target(place(), refused).unwrap_err().to_string().contains("found "));
        }
    }

    #[test]
    fn names_without_a_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (name, reason) in [("", "found none"), ("new/", "that of a directory")] {
            let path = if name.is_empty() { PathBuf::new() } else { folder.path().join(name) };
            assert!(Target::of(&path).unwrap_err().to_string().contains(reason), "{name}");
        }
        assert!(Target::of(folder.path()).unwrap_err().to_string().contains("found a directory"));
        assert!(Target::of(&folder.path().join("..")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_what_they_stand_for() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("inner")).unwrap();
        std::fs::write(path("inner/file"), "x").unwrap();
        symlink("inner/file", path("one")).unwrap();
        symlink(path("one"), path("two")).unwrap();
        assert_eq!(Target::of(&path("two")).unwrap(), Target::File(path("inner/file")));
        symlink("../new", path("inner/dangling")).unwrap();
        assert_eq!(Target::of(&path("inner/dangling")).unwrap(), Target::File(path("inner/../new")));
        symlink("loop", path("loop")).unwrap();
        assert!(Target::of(&path("loop")).unwrap_err().to_string().contains("links"));
        symlink("inner", path("folder")).unwrap();
        assert!(Target::of(&path("folder")).unwrap_err().to_string().contains("a directory"));
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert!(Target::of(&path("socket")).unwrap_err().to_string().contains("a socket"));
        std::fs::set_permissions(path("inner/file"), std::os::unix::fs::PermissionsExt::from_mode(0o444))
            .unwrap();
        assert!(Target::of(&path("one")).unwrap_err().to_string().contains("read-only"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_file_of_a_process_is_written_to() {
        use std::os::fd::AsRawFd;
        let file = tempfile::tempfile().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
        assert_eq!(Target::of(&path).unwrap(), Target::Stream(path));
    }
}
