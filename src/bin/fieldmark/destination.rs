//! The files that are named on the command line: what a path stands for is found out before long work, and so is whether
//! it can be written.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use fieldmark::{
    Error,
    files::{Output, Target, open_stream, prepare_folder, write_atomically},
};

use crate::output;

/// How long the reader of a named pipe is waited for: it may be started after this program.
const READER_COMES_WITHIN: Duration = Duration::from_secs(10);

/// Where a result goes.
#[derive(Debug)]
pub struct Destination {
    option: &'static str,
    path: PathBuf,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// `-`, or a name of the same.
    StandardOutput,
    /// A regular file, which is replaced whole.
    File,
    /// A named pipe or a device, which is open.
    Stream(File),
}

impl Destination {
    /// Finds out what the path of an option stands for, makes the folder that a new file is in, and opens what is not a
    /// file.
    pub fn prepare(option: &'static str, path: &Path) -> Result<Self> {
        let way = Self::way(path).map_err(|error| match error.downcast::<io::Error>() {
            Ok(source) => Error::Write { path: path.into(), source }.into(),
            Err(other) => other,
        })?;
        Ok(Self { option, path: path.into(), way })
    }

    fn way(path: &Path) -> Result<Way> {
        if path == Path::new("-") || is_standard_output(path) {
            return Ok(Way::StandardOutput);
        }
        match Target::of(path)? {
            Target::Stream(stream) => Ok(Way::Stream(open_when_read(&stream)?)),
            Target::File(file) => {
                if file.exists() {
                    OpenOptions::new().write(true).open(&file)?;
                }
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
                prepare_folder(folder.unwrap_or(Path::new(".")))?;
                Ok(Way::File)
            }
        }
    }

    /// Two results would be mixed on standard output.
    pub fn check_standard_output<D: std::borrow::Borrow<Self>>(files: &[D], json: bool) -> Result<()> {
        let mut there = files.iter().map(D::borrow).filter(|file| file.is_standard_output());
        match (there.next(), there.next()) {
            (Some(one), Some(two)) => {
                bail!("{}: standard output is taken by {}", two.option, one.option)
            }
            (Some(one), None) if json => bail!("{}: standard output is taken by --json", one.option),
            _ => Ok(()),
        }
    }

    /// Of two results in one file the first would be lost.
    pub fn check_distinct(one: Option<&Self>, two: Option<&Self>) -> Result<()> {
        let place = |file: &Self| if matches!(file.way, Way::File) { place(&file.path) } else { None };
        match (one, two) {
            (Some(one), Some(two)) if place(one).is_some() && place(one) == place(two) => {
                bail!("{}: expected another file than that of {}, found the same", two.option, one.option)
            }
            _ => Ok(()),
        }
    }

    pub fn is_standard_output(&self) -> bool {
        matches!(self.way, Way::StandardOutput)
    }

    /// The path as it was typed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the result: a file whole or not at all.
    pub fn write(&self, write: impl FnOnce(&mut Output) -> io::Result<()>) -> Result<()> {
        match &self.way {
            Way::StandardOutput => {
                let mut bytes = Vec::new();
                through(&mut bytes, write)?;
                output::bytes(&bytes)
            }
            Way::File => Ok(write_atomically(&self.path, write)?),
            Way::Stream(file) => {
                let mut file = file;
                let fail = |source| Error::Write { path: self.path.clone(), source };
                Ok(through(&mut file, write).map_err(fail)?)
            }
        }
    }
}

fn through(
    mut sink: &mut (dyn Write + Send),
    write: impl FnOnce(&mut Output) -> io::Result<()>,
) -> io::Result<()> {
    let mut output: Output = BufWriter::new(&mut sink);
    write(&mut output)?;
    output.flush()
}

/// Opens what is not a file; of a named pipe the reader is waited for a while.
fn open_when_read(stream: &Path) -> io::Result<File> {
    const NO_READER: i32 = 6;
    let start = Instant::now();
    loop {
        match open_stream(stream) {
            Err(error) if error.raw_os_error() == Some(NO_READER) && is_pipe(stream) => {
                if start.elapsed() > READER_COMES_WITHIN {
                    let seconds = READER_COMES_WITHIN.as_secs();
                    let reason = format!("expected a reader of the named pipe, found none in {seconds} s");
                    return Err(io::Error::new(ErrorKind::NotConnected, reason));
                }
                thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type()))
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// Where a file is, with all links followed; it need not be there yet.
fn place(path: &Path) -> Option<PathBuf> {
    let target = Target::of(path).ok()?;
    let folder = target.path().parent().filter(|folder| !folder.as_os_str().is_empty());
    Some(folder.unwrap_or(Path::new(".")).canonicalize().ok()?.join(target.path().file_name()?))
}

/// Whether a path is another name of this program's standard output. Opened anew, a file there would be overwritten from
/// its beginning.
fn is_standard_output(path: &Path) -> bool {
    let mut place = path.to_path_buf();
    for _ in 0..4 {
        let folder = place.parent().and_then(|folder| folder.canonicalize().ok()).unwrap_or_default();
        let own = Path::new("/proc").join(std::process::id().to_string());
        if folder.starts_with(&own) && folder.ends_with("fd") {
            return place.file_name().is_some_and(|name| name == "1");
        }
        match std::fs::read_link(&place) {
            Ok(target) => place = folder.join(target),
            Err(_) => return path == Path::new("/dev/stdout"),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(path: impl AsRef<Path>) -> Result<Destination> {
        Destination::prepare("--coco", path.as_ref())
    }

    #[test]
    fn standard_output_has_many_names() {
        let mut names = vec!["-"];
        if cfg!(target_os = "linux") {
            names.extend(["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]);
        }
        let found: Vec<Destination> = names.iter().map(|name| prepare(name).unwrap()).collect();
        assert!(found.iter().all(Destination::is_standard_output), "{found:?}");
        let error = Destination::check_standard_output(&found[..1], true).unwrap_err().to_string();
        assert_eq!(error, "--coco: standard output is taken by --json");
        Destination::check_standard_output(&found[..1], false).unwrap();
        let twice = [prepare("-").unwrap(), Destination::prepare("--report", Path::new("-")).unwrap()];
        assert!(Destination::check_standard_output(&twice, false).is_err());
    }

    #[test]
    fn a_file_is_looked_at_before_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file");
        let file = prepare(&path).unwrap();
        assert!(!path.exists() && folder.path().join("new").is_dir());
        file.write(|out| out.write_all(b"x")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
        let inside = prepare(path.join("inside")).unwrap_err().to_string();
        assert!(inside.contains("inside: cannot be written"), "{inside}");
        assert!(prepare(folder.path()).is_err());
        let same =
            Destination::check_distinct(Some(&file), Some(&prepare(folder.path().join("new/file")).unwrap()));
        assert!(same.is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_stays() {
        use std::{io::Read, os::unix::fs::FileTypeExt};
        let null = prepare("/dev/null").unwrap();
        null.write(|out| out.write_all(b"nothing")).unwrap();
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = {
            let path = path.clone();
            thread::spawn(move || {
                // It comes later than the writer.
                thread::sleep(Duration::from_millis(100));
                let mut text = String::new();
                File::open(path).unwrap().read_to_string(&mut text).unwrap();
                text
            })
        };
        prepare(&path).unwrap().write(|out| out.write_all(b"read")).unwrap();
        assert_eq!(reader.join().unwrap(), "read");
        assert!(path.symlink_metadata().unwrap().file_type().is_fifo());
    }
}
