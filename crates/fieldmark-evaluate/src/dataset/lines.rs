//! A text file becomes lines of bounded length, and a line its fields.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    str::FromStr,
};

use fieldmark_model::error::{self, Error, Result};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// Opens a file that is read in pieces, and more than once.
///
/// # Errors
/// [`Error::Read`] if it cannot be opened; [`Error::Dataset`] if it is not a regular file: a named pipe could wait
/// forever, and could not be read twice.
pub(super) fn open(path: &Path) -> Result<BufReader<File>> {
    let fail = |source| Error::Read { path: path.into(), source };
    if !std::fs::metadata(path).map_err(fail)?.is_file() {
        let reason = "expected a regular file, found something else".into();
        return Err(Error::Dataset { path: path.into(), reason });
    }
    File::open(path).map(BufReader::new).map_err(fail)
}

/// The lines of a file that are not blank, one after another.
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    /// Lines read so far.
    number: usize,
    /// Bytes read so far.
    offset: u64,
    bytes: Vec<u8>,
}

/// One line, without its end and without white space at its end.
pub(super) struct Line<'a> {
    path: &'a Path,
    /// The first is 1.
    pub(super) number: usize,
    /// Where it begins in the file, in bytes.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

impl Lines {
    /// # Errors
    /// Those of [`open`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), file: open(path)?, number: 0, offset: 0, bytes: Vec::new() })
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Dataset`] if it is too long.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            let offset = self.offset;
            self.bytes.clear();
            let read = self.file.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut self.bytes);
            read.map_err(|source| Error::Read { path: self.path.clone(), source })?;
            let length = self.bytes.len() as u64;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.offset += length;
            if length > LONGEST_LINE {
                return Err(self
                    .line(offset)
                    .error(format!("expected at most {LONGEST_LINE} bytes, found more")));
            }
            if !self.line(offset).bytes.is_empty() {
                return Ok(Some(self.line(offset)));
            }
        }
    }

    fn line(&self, offset: u64) -> Line<'_> {
        // Some editors begin a file with a byte order mark.
        let marked = self.bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.number == 1);
        let bytes = marked.unwrap_or(&self.bytes).trim_ascii_end();
        Line { path: &self.path, number: self.number, offset, bytes }
    }

    /// Goes to a line that was read before.
    ///
    /// # Errors
    /// [`Error::Read`] if the file does not reach so far.
    pub(super) fn go_to(&mut self, offset: u64, number: usize) -> Result<()> {
        let fail = |source| Error::Read { path: self.path.clone(), source };
        match i64::try_from(offset).ok().zip(i64::try_from(self.offset).ok()) {
            // Short ways keep what is in the buffer.
            Some((to, from)) => self.file.seek_relative(to - from).map_err(fail)?,
            None => drop(self.file.seek(SeekFrom::Start(offset)).map_err(fail)?),
        }
        (self.offset, self.number) = (offset, number.saturating_sub(1));
        Ok(())
    }
}

impl<'a> Line<'a> {
    /// Says what is wrong with the line.
    pub(super) fn error(&self, reason: impl std::fmt::Display) -> Error {
        Error::Dataset { path: self.path.into(), reason: format!("line {}: {reason}", self.number) }
    }

    /// Its fields, separated by white space.
    ///
    /// # Errors
    /// [`Error::Dataset`] if it is not UTF-8.
    pub(super) fn fields(self) -> Result<Fields<'a>> {
        match std::str::from_utf8(self.bytes) {
            Ok(rest) => Ok(Fields { rest: rest.trim(), line: self }),
            Err(_) => Err(self.error("expected UTF-8 text, found something else")),
        }
    }
}

/// What is left of a line whose fields are read from the left.
pub(super) struct Fields<'a> {
    pub(super) line: Line<'a>,
    rest: &'a str,
}

impl<'a> Fields<'a> {
    /// The next field as a number; `form` says which are expected.
    pub(super) fn number<T: FromStr>(&mut self, name: &str, form: &str) -> Result<T> {
        let (field, rest) = self.rest.split_once(char::is_whitespace).unwrap_or((self.rest, ""));
        self.rest = rest.trim_start();
        field.parse().map_err(|_| self.wrong(name, form, field))
    }

    /// The next field as a finite number.
    pub(super) fn finite(&mut self, name: &str) -> Result<f64> {
        let number: f64 = self.number(name, "a number")?;
        if number.is_finite() {
            Ok(number)
        } else {
            Err(self.wrong(name, "a finite number", &number.to_string()))
        }
    }

    /// All that is left.
    pub(super) fn rest(&self, name: &str) -> Result<&'a str> {
        match self.rest {
            "" => Err(self.wrong(name, "a text", "")),
            rest => Ok(rest),
        }
    }

    /// Says what is wrong with a field.
    pub(super) fn wrong(&self, name: &str, expected: &str, found: &str) -> Error {
        let found = if found.is_empty() { "nothing".to_owned() } else { format!("{:?}", cut(found)) };
        self.line.error(format!("{name}: expected {expected}, found {found}"))
    }
}

/// A text, cut to what a message can carry.
pub(super) fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    error::cut(text, LONGEST)
}

#[cfg(test)]
impl<'a> Line<'a> {
    /// A line without a file.
    pub(super) fn of(text: &'a str, number: usize) -> Self {
        Line { path: Path::new("lines.txt"), number, offset: 0, bytes: text.as_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> (tempfile::TempDir, Lines) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.txt");
        std::fs::write(&path, text).unwrap();
        let lines = Lines::open(&path).unwrap();
        (folder, lines)
    }

    #[test]
    fn lines_are_numbered_and_can_be_read_again() {
        let (_folder, mut lines) = lines(b"\xef\xbb\xbfone\r\n\n  two \nthree");
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.number, line.offset, line.bytes.to_vec()));
        }
        let expected: [(usize, u64, &[u8]); 3] = [(1, 0, b"one"), (3, 9, b"  two"), (4, 16, b"three")];
        assert_eq!(found, expected.map(|(number, offset, bytes)| (number, offset, bytes.to_vec())));
        lines.go_to(9, 3).unwrap();
        let again = lines.next().unwrap().unwrap();
        assert_eq!((again.number, again.bytes), (3, b"  two".as_slice()));
    }

    #[test]
    fn fields_say_what_is_wrong_with_them() {
        let (_folder, mut lines) = lines(b"12 inf a b\n-3\n");
        let mut fields = lines.next().unwrap().unwrap().fields().unwrap();
        assert_eq!(fields.number::<u32>("image id", "a number").unwrap(), 12);
        assert!(
            fields
                .finite("x")
                .unwrap_err()
                .to_string()
                .ends_with("line 1: x: expected a finite number, found \"inf\"")
        );
        assert_eq!(fields.rest("name").unwrap(), "a b");
        let mut fields = lines.next().unwrap().unwrap().fields().unwrap();
        let error = fields.number::<u32>("image id", "a whole number").unwrap_err().to_string();
        assert!(error.ends_with("line 2: image id: expected a whole number, found \"-3\""), "{error}");
        assert!(fields.finite("x").unwrap_err().to_string().ends_with("x: expected a number, found nothing"));
    }

    #[test]
    fn a_line_is_bounded() {
        let (_folder, mut lines) = lines(&vec![b'a'; LONGEST_LINE as usize + 1]);
        assert!(lines.next().err().unwrap().to_string().contains("line 1: expected at most 1048576 bytes"));
    }
}
