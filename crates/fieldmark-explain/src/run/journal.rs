//! A journal: a line of JSON for each piece of work that is done, written in one go when it is, with a checksum and the
//! name of its run. A run that was interrupted at any moment can go on from it. In memory is where each line is, not the
//! lines.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    hash::Hash,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::seal::{Seal, seal, sealed};
use fieldmark_model::{
    error::{Error, Result},
    files::{unescaped, uninterrupted, write_atomically},
};
use serde::Deserialize;

/// The longest line that is read, and so that is written.
const LONGEST_LINE: u64 = 256 << 20;

/// How many damaged lines are named, each with what is wrong.
const MOST_NAMED: usize = 5;

/// The lines of this run and of those that it continues, by subject.
///
/// A line is a JSON object; the journal adds the fields `run` and `check` at its end.
pub struct Journal<K> {
    path: PathBuf,
    file: File,
    /// The name of the run that its lines are of.
    run: String,
    end: u64,
    places: HashMap<K, Place>,
    left_out: LeftOut,
}

/// Where a line is in the file, without its line feed.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    length: usize,
}

/// What a line says without its seal.
pub enum Content<K> {
    /// The work that it is about, which is done.
    Done(K),
    /// Work that is to be done again.
    Again,
}

impl Content<PathBuf> {
    /// What a record of one photo is about ([`Localization`](crate::report::Localization),
    /// [`Comparison`](crate::report::Comparison)): the photo's file.
    pub fn photo(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Record {
            image: PathBuf,
            image_bytes: Option<String>,
        }
        let record: Record = serde_json::from_str(line).ok()?;
        Some(Self::Done(record.image_bytes.map_or(record.image, |bytes| unescaped(&bytes))))
    }
}

/// How to read a journal that is there.
#[derive(Clone, Copy)]
pub struct Reading<'r> {
    /// The [name](super::run_name) of the run.
    pub run: &'r str,
    /// Whether the run's description agrees: then lines of earlier versions, which do not know their run, are of it.
    pub described: bool,
}

impl<'r> Reading<'r> {
    /// Lines that name this run.
    pub fn of(run: &'r str) -> Self {
        Self { run, described: false }
    }
}

/// The lines that do not count.
#[derive(Debug, Default)]
struct LeftOut {
    /// Number and reason.
    damaged: Vec<(u64, &'static str)>,
    /// How many are of a run with other settings.
    foreign: u64,
    /// How many are of an earlier version, and nothing says which run they are of.
    unknown: u64,
}

impl LeftOut {
    /// A sentence for each kind; those that are damaged are named.
    fn notes(&self, path: &Path) -> Vec<String> {
        let path = path.display();
        let named = self.damaged.iter().take(MOST_NAMED);
        let mut notes: Vec<String> = named
            .map(|(number, reason)| format!("{path}, line {number}: {reason}; the line is left out"))
            .collect();
        let mut count = |count: u64, what: &str| {
            if count > 0 {
                notes.push(format!("{path}: {count} {what}"));
            }
        };
        count(self.damaged.len().saturating_sub(MOST_NAMED) as u64, "more damaged lines are left out");
        count(self.foreign, "lines of a run with other settings are left out");
        count(self.unknown, "lines that do not name their run are left out");
        notes
    }
}

impl<K: Eq + Hash> Journal<K> {
    /// Begins a journal, in place of another.
    ///
    /// # Errors
    /// [`Error::Write`] if it cannot be written, [`Error::Run`] if something else than a file is in its place.
    pub fn begin(path: &Path, run: &str) -> Result<Self> {
        let journal = Self::open(path, run)?;
        journal.file.set_len(0).map_err(unwritable(path))?;
        Ok(journal)
    }

    /// Goes on with a journal, if there is one. `content` says what a line is about, or that it is no line of such a
    /// journal; of several about the same the last counts. What was not written to its end is cut off.
    ///
    /// # Errors
    /// As [`begin`](Self::begin), and [`Error::Read`] if it cannot be read.
    pub fn resume(
        path: &Path,
        reading: Reading,
        content: impl Fn(&str) -> Option<Content<K>>,
    ) -> Result<Self> {
        let mut journal = Self::open(path, reading.run)?;
        journal.find_lines(reading.described, content)?;
        journal.file.set_len(journal.end).map_err(unwritable(path))?;
        Ok(journal)
    }

    /// Reads a journal and leaves it as it is; nothing can be added.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read, [`Error::Run`] if it is not a file.
    pub fn read(path: &Path, reading: Reading, content: impl Fn(&str) -> Option<Content<K>>) -> Result<Self> {
        let file = File::open(path).map_err(unreadable(path))?;
        let mut journal = Self::of(path, file, reading.run)?;
        journal.find_lines(reading.described, content)?;
        Ok(journal)
    }

    fn open(path: &Path, run: &str) -> Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        Self::of(path, file.map_err(unwritable(path))?, run)
    }

    fn of(path: &Path, file: File, run: &str) -> Result<Self> {
        if !file.metadata().map_err(unreadable(path))?.is_file() {
            let reason = "expected a regular file, found something else".into();
            return Err(Error::Run { path: path.into(), reason });
        }
        let (path, run) = (path.into(), run.into());
        Ok(Self { path, file, run, end: 0, places: HashMap::new(), left_out: LeftOut::default() })
    }

    fn find_lines(&mut self, described: bool, content: impl Fn(&str) -> Option<Content<K>>) -> Result<()> {
        let mut reader = BufReader::new(self.file.try_clone().map_err(unreadable(&self.path))?);
        let mut line = Vec::new();
        let mut may_be_bare = described;
        for number in 1.. {
            let length = read_line(&mut reader, &mut line).map_err(unreadable(&self.path))?;
            let Some(length) = length else { break };
            let place = Place { start: self.end, length: line.len() };
            self.end += length;
            match self.judge(&line, length, &mut may_be_bare, &content) {
                Judged::Done(key) => drop(self.places.insert(key, place)),
                Judged::Again => {}
                Judged::Foreign => self.left_out.foreign += 1,
                Judged::Unknown => self.left_out.unknown += 1,
                Judged::Damaged(reason) => self.left_out.damaged.push((number, reason)),
            }
        }
        Ok(())
    }

    /// What there is to do with a line. No line of an earlier version, which has no seal, follows one of this version.
    fn judge(
        &self,
        line: &[u8],
        length: u64,
        may_be_bare: &mut bool,
        content: impl Fn(&str) -> Option<Content<K>>,
    ) -> Judged<K> {
        if length > LONGEST_LINE {
            return Judged::Damaged("expected a shorter line");
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return Judged::Damaged("expected text, found other bytes");
        };
        let found = seal(line);
        *may_be_bare &= found == Seal::Missing;
        let is_of_the_run = match found {
            Seal::Broken => return Judged::Damaged("its checksum is another"),
            Seal::Whole { run } if run != self.run => return Judged::Foreign,
            Seal::Whole { .. } => true,
            Seal::Missing => *may_be_bare,
        };
        match content(line) {
            None => {
                Judged::Damaged("expected a line of this journal with its checksum, found something else")
            }
            Some(_) if !is_of_the_run => Judged::Unknown,
            Some(Content::Done(key)) => Judged::Done(key),
            Some(Content::Again) => Judged::Again,
        }
    }

    /// What is to be said of lines that are there, but do not count: a sentence each.
    pub fn left_out(&self) -> Vec<String> {
        self.left_out.notes(&self.path)
    }

    /// Whether nothing is done yet.
    pub fn is_empty(path: &Path) -> bool {
        std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
    }

    /// Whether there is a line about this.
    pub fn has(&self, key: &K) -> bool {
        self.places.contains_key(key)
    }

    /// The line about this, if there is one.
    ///
    /// # Errors
    /// [`Error::Read`] if it cannot be read.
    pub fn line(&self, key: &K) -> Result<Option<String>> {
        let Some(place) = self.places.get(key) else { return Ok(None) };
        let mut line = vec![0; place.length];
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(place.start)).and_then(|_| file.read_exact(&mut line));
        read.map_err(unreadable(&self.path))?;
        let text = String::from_utf8(line).map_err(io::Error::other);
        Ok(Some(text.map_err(unreadable(&self.path))?))
    }

    /// Adds a line, in one write: whole or not at all, and it is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Write`] if it cannot be written; the journal is then as it was. [`Error::Run`] if it is longer than any
    /// that is read.
    pub fn add(&mut self, key: K, line: &str) -> Result<()> {
        let line = sealed(line, &self.run);
        if line.len() as u64 >= LONGEST_LINE {
            let reason = format!("expected lines of less than {LONGEST_LINE} bytes, found {}", line.len());
            return Err(Error::Run { path: self.path.clone(), reason });
        }
        let written = uninterrupted(|| self.file.write_all(format!("{line}\n").as_bytes()));
        if let Err(source) = written.and_then(|()| self.file.sync_data()) {
            // Half a line would be found by its checksum; no line is better.
            let _ = self.file.set_len(self.end);
            return Err(Error::Write { path: self.path.clone(), source });
        }
        self.places.insert(key, Place { start: self.end, length: line.len() });
        self.end += line.len() as u64 + 1;
        Ok(())
    }

    /// Puts the lines about these into their order, and drops all others. Lines of earlier versions get their seal.
    ///
    /// # Errors
    /// If it cannot be read or written; it is then as it was.
    pub fn finish<'k>(&self, keys: impl Iterator<Item = &'k K>) -> Result<()>
    where
        K: 'k,
    {
        let mut keys = keys;
        write_atomically(&self.path, |file| {
            keys.try_for_each(|key| match self.line(key).map_err(io::Error::other)? {
                Some(line) => writeln!(file, "{}", sealed(&line, &self.run)),
                None => Ok(()),
            })
        })
    }
}

/// What there is to do with a line.
enum Judged<K> {
    Done(K),
    Again,
    Foreign,
    Unknown,
    Damaged(&'static str),
}

/// Reads a line, without its line feed, and returns how many bytes it has with it; none where no line ends any more. Of
/// one that is too long only a part is kept.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
    line.clear();
    let mut length = 0;
    loop {
        let bytes = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            bytes => bytes?,
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if length + part.len() as u64 <= LONGEST_LINE {
            line.extend_from_slice(part);
        }
        let consumed = part.len() + usize::from(end.is_some());
        length += consumed as u64;
        reader.consume(consumed);
        if end.is_some() {
            return Ok(Some(length));
        }
    }
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> Error {
    |source| Error::Read { path: path.into(), source }
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error {
    |source| Error::Write { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0123456789abcdef";

    fn content(line: &str) -> Option<Content<usize>> {
        let (_, rest) = line.split_once("{\"key\":")?;
        let number: usize = rest.split([',', '}']).next()?.parse().ok()?;
        if line.contains("again") { Some(Content::Again) } else { Some(Content::Done(number)) }
    }

    fn reading(described: bool) -> Reading<'static> {
        Reading { run: RUN, described }
    }

    fn line(key: usize, text: &str) -> String {
        sealed(&format!("{{\"key\":{key},\"text\":\"{text}\"}}"), RUN)
    }

    fn resumed(text: impl AsRef<[u8]>, described: bool) -> (tempfile::TempDir, Journal<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, text).unwrap();
        let journal = Journal::resume(&path, reading(described), content).unwrap();
        (folder, journal)
    }

    #[test]
    fn a_line_that_was_torn_is_cut_off_and_the_others_are_known() {
        let text =
            format!("{}\n{}\n{}\n{}", line(2, "two"), line(1, "one"), line(2, "newer"), &line(3, "x")[..12]);
        let (folder, mut journal) = resumed(text, false);
        assert_eq!(journal.left_out(), [""; 0]);
        assert_eq!(journal.line(&2).unwrap(), Some(line(2, "newer")));
        assert_eq!((journal.has(&1), journal.has(&3)), (true, false));
        journal.add(3, "{\"key\":3,\"text\":\"three\"}").unwrap();
        assert_eq!(journal.line(&3).unwrap(), Some(line(3, "three")));
        journal.finish([1, 2, 3].iter()).unwrap();
        let expected = format!("{}\n{}\n{}\n", line(1, "one"), line(2, "newer"), line(3, "three"));
        assert_eq!(std::fs::read_to_string(folder.path().join("journal")).unwrap(), expected);
    }

    #[test]
    fn damaged_lines_are_named_and_left_out() {
        let mut text = Vec::new();
        let flipped = line(2, "two").replace("two", "twp");
        let other = sealed("{\"key\":5}", "fedcba9876543210");
        let lines: [&[u8]; 7] = [
            line(1, "one").as_bytes(),
            flipped.as_bytes(),
            b"",
            b"\xff\xfe",
            b"{\"key\":4,\"text\":\"\0\"}",
            other.as_bytes(),
            line(6, "six").as_bytes(),
        ]
        .map(|bytes| bytes.to_vec().leak() as &[u8]);
        lines.iter().for_each(|line| text.extend([line, &b"\n"[..]].concat()));
        let (_folder, journal) = resumed(&text, true);
        let found: Vec<usize> = (0..9).filter(|key| journal.has(key)).collect();
        assert_eq!(found, [1, 6]);
        let notes = journal.left_out().join("\n");
        for part in [
            "line 2: its checksum",
            "line 3: expected",
            "line 4: expected text",
            "1 lines of a run with other",
        ] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
        assert!(notes.contains("1 lines that do not name their run"), "bare behind sealed ones: {notes}");
    }

    #[test]
    fn lines_of_earlier_versions_count_where_the_description_agrees_and_get_their_seal() {
        let text = "{\"key\":1,\"text\":\"one\"}\n{\"key\":2,\"text\":\"again\"}\n";
        let (folder, journal) = resumed(text, true);
        assert!(journal.has(&1) && !journal.has(&2) && journal.left_out().is_empty());
        journal.finish([1].iter()).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("journal")).unwrap(), line(1, "one") + "\n");
        let (_folder, journal) = resumed(text, false);
        assert!(!journal.has(&1));
        assert!(journal.left_out()[0].ends_with("2 lines that do not name their run are left out"));
    }

    #[test]
    fn a_line_of_any_length_takes_bounded_memory() {
        struct Endless(u64);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = self.0.min(buffer.len() as u64) as usize;
                buffer[..length].fill(b'x');
                self.0 -= length as u64;
                Ok(length)
            }
        }
        let long = LONGEST_LINE + 100_000;
        let mut reader = BufReader::with_capacity(1 << 20, Endless(long).chain(&b"\nnext\nlast"[..]));
        let mut line = Vec::new();
        assert_eq!(read_line(&mut reader, &mut line).unwrap(), Some(long + 1));
        assert!(line.len() as u64 <= LONGEST_LINE);
        assert_eq!(read_line(&mut reader, &mut line).unwrap(), Some(5));
        assert_eq!(line, b"next");
        assert_eq!(read_line(&mut reader, &mut line).unwrap(), None);
    }

    #[test]
    fn a_journal_that_is_begun_anew_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, line(1, "one") + "\n").unwrap();
        let journal = Journal::<usize>::begin(&path, RUN).unwrap();
        assert!(Journal::<usize>::is_empty(&path) && journal.line(&1).unwrap().is_none());
    }
}
