//! Files are written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::layer::{Layer, System, sync};
use super::target::Target;
use super::temporary::Temporary;
use crate::error::{Error, Result};

/// What the contents of a file are written to.
pub type Output<'f> = BufWriter<&'f mut (dyn Write + Send + 'f)>;

/// Creates a folder, parents included, and makes sure that files can be created in it.
///
/// Asked before long work, so that a bad folder fails at once.
///
/// # Errors
/// [`Error::Write`] if the folder cannot be created or written to.
pub fn prepare_folder(folder: &Path) -> Result<()> {
    let fail = |source| Error::Write { path: folder.to_path_buf(), source };
    std::fs::create_dir_all(folder).map_err(fail)?;
    Temporary::create(&System, folder).map_err(fail).map(drop)
}

/// Writes a file whole or not at all; an existing one is replaced, and keeps its permissions. Links are followed, and
/// stay. A named pipe or a device is written to as it is.
///
/// The contents are on the disk before the file gets its name: after a power cut either the old or the new file exists.
///
/// # Errors
/// [`Error::Write`] if the folder cannot be written to, the disk is full, `write` fails, or there is something that is
/// no file; then nothing is left behind and an existing file is as it was.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut Output) -> io::Result<()>) -> Result<()> {
    let written = Target::of(path).and_then(|target| match target {
        Target::File(path) => replace(&System, &path, write),
        Target::Stream(path) => write_through(open_stream(&path)?, write),
    });
    written.map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

/// Writes to something that is open, and stays as it is.
pub(crate) fn write_through(
    mut file: File,
    write: impl FnOnce(&mut Output) -> io::Result<()>,
) -> io::Result<()> {
    let mut output: Output = BufWriter::new(&mut file);
    write(&mut output)?;
    output.flush()
}

fn replace<L: Layer>(
    layer: &L,
    path: &Path,
    write: impl FnOnce(&mut Output) -> io::Result<()>,
) -> io::Result<()> {
    let mut temporary = Temporary::create(layer, folder_of(path))?;
    let mut output: Output = BufWriter::new(&mut temporary);
    write(&mut output)?;
    output.flush()?;
    drop(output);
    if let Ok(existing) = std::fs::metadata(path) {
        temporary.allow(existing.permissions())?;
    }
    temporary.sync()?;
    temporary.publish(path)
}

/// Opens a named pipe or a device for writing. A pipe that nobody reads is an error rather than waited for.
///
/// # Errors
/// If it cannot be opened.
pub fn open_stream(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // An open file of a process goes on where it is.
    options.append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        let file = options.open(path)?;
        rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::APPEND)?;
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// Waits until the names of the files in a folder are on the disk, as their contents are: what is there now is there
/// after a power cut.
///
/// # Errors
/// [`Error::Write`] if the system fails to.
pub fn sync_folder(folder: &Path) -> Result<()> {
    // Elsewhere folders cannot be opened.
    if cfg!(not(unix)) {
        return Ok(());
    }
    let synced = File::open(folder).and_then(|folder| sync(&folder));
    synced.map_err(|source| Error::Write { path: folder.to_path_buf(), source })
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// The system, but for one step.
    struct Faulty {
        /// Which step fails; from 0.
        at: usize,
        steps: AtomicUsize,
        error: fn() -> io::Error,
        /// Whether files can be without a name.
        unnamed: bool,
        /// Whether an unnamed file can get a name.
        links: bool,
    }

    impl Faulty {
        fn step(&self) -> io::Result<()> {
            if self.steps.fetch_add(1, Ordering::SeqCst) == self.at { Err((self.error)()) } else { Ok(()) }
        }
    }

    impl Layer for Faulty {
        fn open_unnamed(&self, folder: &Path) -> io::Result<File> {
            self.step()?;
            if self.unnamed { System.open_unnamed(folder) } else { Err(io::ErrorKind::Unsupported.into()) }
        }

        fn open_new(&self, path: &Path) -> io::Result<File> {
            self.step()?;
            System.open_new(path)
        }

        /// A disk that fills up takes a part first.
        fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
            match self.step() {
                Err(error) if bytes.len() > 1 && self.steps.load(Ordering::SeqCst).is_multiple_of(2) => {
                    System.write(file, &bytes[..1])?;
                    Err(error)
                }
                Err(error) => Err(error),
                // Short writes are no errors.
                Ok(()) => System.write(file, &bytes[..bytes.len().min(5000)]),
            }
        }

        fn set_permissions(&self, file: &File, permissions: std::fs::Permissions) -> io::Result<()> {
            self.step()?;
            System.set_permissions(file, permissions)
        }

        fn sync(&self, file: &File) -> io::Result<()> {
            self.step()?;
            System.sync(file)
        }

        fn link(&self, file: &File, path: &Path) -> io::Result<()> {
            self.step()?;
            if self.links { System.link(file, path) } else { Err(io::ErrorKind::NotFound.into()) }
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            System.rename(from, to)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            System.remove(path)
        }
    }

    static NEW: [u8; 20_000] = [7; 20_000];

    /// Lets every step fail in turn; returns how often the write as a whole failed.
    fn failures(old: Option<&str>, error: fn() -> io::Error, unnamed: bool, links: bool) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        for at in 0.. {
            let _ = std::fs::remove_file(&path);
            if let Some(old) = old {
                std::fs::write(&path, old).unwrap();
                #[cfg(unix)]
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            }
            let layer = Faulty { at, steps: AtomicUsize::new(0), error, unnamed, links };
            let written = replace(&layer, &path, |file| file.write_all(&NEW));
            let found = std::fs::read(&path).ok();
            let whole = if written.is_ok() { Some(&NEW[..]) } else { old.map(str::as_bytes) };
            assert_eq!(found.as_deref(), whole, "step {at}");
            let expected = if whole.is_some() { &["a.bin"][..] } else { &[] };
            assert_eq!(names_in(folder.path()), expected, "step {at} leaves something behind");
            if layer.steps.into_inner() <= at {
                assert!(written.is_ok());
                return at;
            }
        }
        unreachable!("the loop ends where no step is left")
    }

    #[test]
    fn whatever_step_fails_the_old_file_is_there_or_the_new_one_and_nothing_else() {
        let errors: [fn() -> io::Error; 3] = [
            || io::ErrorKind::StorageFull.into(),
            || io::Error::from_raw_os_error(5),
            || io::ErrorKind::PermissionDenied.into(),
        ];
        for error in errors {
            for old in [None, Some("old")] {
                for (unnamed, links) in [(true, true), (true, false), (false, false)] {
                    let steps = failures(old, error, unnamed, links);
                    assert!(steps >= 7, "opening, four writes, sync and a name are steps: {steps}");
                }
            }
        }
    }

    #[test]
    fn folders_can_be_synced() {
        let folder = tempfile::tempdir().unwrap();
        sync_folder(folder.path()).unwrap();
        let missing = folder.path().join("none");
        assert!(
            cfg!(not(unix))
                || matches!(sync_folder(&missing), Err(Error::Write { path, .. }) if path == missing)
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_kept_and_their_files_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("inner")).unwrap();
        std::fs::write(path("inner/file"), "old").unwrap();
        std::os::unix::fs::symlink("inner/file", path("link")).unwrap();
        std::os::unix::fs::symlink("inner/new", path("dangling")).unwrap();
        for (link, file) in [("link", "inner/file"), ("dangling", "inner/new")] {
            write_atomically(&path(link), |out| out.write_all(b"new")).unwrap();
            assert!(path(link).is_symlink());
            assert_eq!(std::fs::read_to_string(path(file)).unwrap(), "new");
        }
        std::fs::hard_link(path("inner/file"), path("other")).unwrap();
        write_atomically(&path("link"), |out| out.write_all(b"newer")).unwrap();
        assert_eq!(std::fs::read_to_string(path("other")).unwrap(), "new", "another name keeps what it had");
    }

    #[cfg(unix)]
    #[test]
    fn a_named_pipe_is_written_to_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = write_atomically(&path, |out| out.write_all(b"lost")).unwrap_err();
        assert!(matches!(error, Error::Write { path: named, .. } if named == path));
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        write_atomically(&path, |out| out.write_all(b"read")).unwrap();
        let mut found = [0; 4];
        io::Read::read_exact(&mut reader, &mut found).unwrap();
        assert_eq!(&found, b"read");
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&path.symlink_metadata().unwrap().file_type()));
        assert_eq!(names_in(folder.path()), ["pipe"]);
    }
}
