//! Files are written whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Creates a folder, parents included, and makes sure that files can be created in it.
///
/// Asked before long work, so that a bad folder fails at once.
///
/// # Errors
/// [`Error::Write`] if the folder cannot be created or written to.
pub fn prepare_folder(folder: &Path) -> Result<()> {
    let fail = |source| Error::Write { path: folder.to_path_buf(), source };
    std::fs::create_dir_all(folder).map_err(fail)?;
    open_temporary(folder).map_err(fail).map(drop)
}

/// Writes a file whole or not at all; an existing one is replaced, and keeps its permissions.
///
/// # Errors
/// [`Error::Write`] if the folder cannot be written to, the disk is full, or `write` fails; then nothing is
/// left behind and an existing file is as it was.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    replace(path, write).map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = open_temporary(folder)?;
    let mut writer = BufWriter::new(temporary.as_file());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    if let Ok(existing) = std::fs::metadata(path) {
        temporary.as_file().set_permissions(existing.permissions())?;
    }
    temporary.persist(path).map(drop).map_err(|error| error.error)
}

/// The beginning and the end of a temporary file's name.
const TEMPORARY: [&str; 2] = [".fieldmark-", ".part"];

/// Removes the temporary files that a run which was killed left in a folder. No other run may be writing there.
///
/// # Errors
/// [`Error::Read`] if the folder cannot be read, [`Error::Write`] if a file cannot be removed.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    let unreadable = |source| Error::Read { path: folder.to_path_buf(), source };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(TEMPORARY[0]) && name.ends_with(TEMPORARY[1]) {
            std::fs::remove_file(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
        }
    }
    Ok(())
}

/// A temporary file with the permissions of an ordinary new file: read and write for all, less the umask.
fn open_temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY[0]).suffix(TEMPORARY[1]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    // tempfile's own error names the temporary file, which means nothing to a reader.
    builder.tempfile_in(folder).map_err(|error| error.kind().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn replaces_a_file_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "a longer old text").unwrap();
        write_atomically(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(error, Err(Error::Write { path: named, .. }) if named == path));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names_in(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("a.txt");
        let error = write_atomically(&path, |file| file.write_all(b"x"));
        assert!(matches!(error, Err(Error::Write { path: named, .. }) if named == path));
        prepare_folder(&folder.path().join("none")).unwrap();
        write_atomically(&path, |file| file.write_all(b"x")).unwrap();
        assert!(matches!(prepare_folder(&path), Err(Error::Write { .. })), "a file is no folder");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_ordinary_permissions_and_an_old_one_keeps_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (ours, ordinary) = (folder.path().join("ours"), folder.path().join("ordinary"));
        std::fs::write(&ordinary, "").unwrap();
        write_atomically(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&ours), mode(&ordinary));
        std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o640)).unwrap();
        write_atomically(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&ours), 0o640);
    }
}
