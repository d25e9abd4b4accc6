//! Opens files of a cache that others may write to: the file itself, never what a link in its place stands for.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a file, unless its name is that of a link or of something else that is no file.
pub(super) fn open_itself(path: &Path, options: &OpenOptions) -> io::Result<File> {
    if let Ok(found) = path.symlink_metadata() {
        refuse_others(&found)?;
    }
    let file = options.open(path)?;
    // Somebody may have put a link there in between; nothing has been written to it yet.
    let named = path.symlink_metadata()?;
    refuse_others(&named)?;
    if is_same(&file.metadata()?, &named) { Ok(file) } else { Err(not_a_file("another file")) }
}

fn refuse_others(found: &Metadata) -> io::Result<()> {
    if found.is_symlink() {
        return Err(not_a_file("a link, which is not written through"));
    }
    if found.is_file() { Ok(()) } else { Err(not_a_file("something that is no file")) }
}

fn not_a_file(found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("expected a file, found {found}"))
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_one: &Metadata, _other: &Metadata) -> bool {
    true
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn opens_files_and_refuses_links_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("other"), "kept").unwrap();
        std::os::unix::fs::symlink("other", path("link")).unwrap();
        std::os::unix::fs::symlink("missing", path("dangling")).unwrap();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        open_itself(&path("new"), &options).unwrap();
        open_itself(&path("new"), &options).unwrap();
        for name in ["link", "dangling"] {
            let error = open_itself(&path(name), &options).unwrap_err();
            assert!(error.to_string().contains("link"), "{error}");
        }
        assert!(open_itself(folder.path(), &options).is_err());
        assert!(!path("missing").exists());
        assert_eq!(std::fs::read(path("other")).unwrap(), b"kept");
    }
}
