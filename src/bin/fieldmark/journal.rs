//! A journal: a line for each piece of work that is done, written in one go when it is. A run that was interrupted at
//! any moment can go on from it. What is in memory is where each line is, not the lines.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions, TryLockError},
    hash::Hash,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fieldmark::files::write_atomically;

/// The lines of this run and of those that it goes on from, by what they are about.
pub struct Journal<K> {
    path: PathBuf,
    file: File,
    end: u64,
    places: HashMap<K, Place>,
}

/// Where a line is in the file, without its line feed.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    length: usize,
}

impl<K: Eq + Hash> Journal<K> {
    /// Begins a journal, in place of another.
    pub fn begin(path: &Path) -> Result<Self> {
        let journal = Self::open(path)?;
        journal.file.set_len(0).with_context(|| unwritable(path))?;
        Ok(journal)
    }

    /// Goes on with a journal, if there is one. `key` tells what a line is about, or that it is no line of such a
    /// journal; of several about the same the last counts. What was not written to its end is cut off.
    pub fn resume(path: &Path, key: impl Fn(&str) -> Option<K>) -> Result<Self> {
        let mut journal = Self::open(path)?;
        journal.find_lines(key)?;
        journal.file.set_len(journal.end).with_context(|| unwritable(path))?;
        Ok(journal)
    }

    /// Reads a journal and leaves it as it is; nothing can be added.
    pub fn read(path: &Path, key: impl Fn(&str) -> Option<K>) -> Result<Self> {
        let file = File::open(path).with_context(|| unreadable(path))?;
        let mut journal = Self { path: path.into(), file, end: 0, places: HashMap::new() };
        journal.find_lines(key)?;
        Ok(journal)
    }

    fn find_lines(&mut self, key: impl Fn(&str) -> Option<K>) -> Result<()> {
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line).with_context(|| unreadable(&self.path))?;
            if line.pop() != Some(b'\n') {
                return Ok(());
            }
            let place = Place { start: self.end, length: line.len() };
            if let Some(key) = std::str::from_utf8(&line).ok().and_then(&key) {
                self.places.insert(key, place);
            }
            self.end += line.len() as u64 + 1;
        }
    }

    /// Two runs that write the same journal would spoil it.
    fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.with_context(|| unwritable(path))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!("{}: another run is writing it", path.display());
        }
        Ok(Self { path: path.into(), file, end: 0, places: HashMap::new() })
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
    pub fn line(&self, key: &K) -> Result<Option<String>> {
        let Some(place) = self.places.get(key) else { return Ok(None) };
        let mut line = vec![0; place.length];
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(place.start)).and_then(|_| file.read_exact(&mut line));
        read.with_context(|| unreadable(&self.path))?;
        Ok(Some(String::from_utf8(line).with_context(|| unreadable(&self.path))?))
    }

    /// Adds a line, in one write: it is there or it is not.
    pub fn add(&mut self, key: K, line: &str) -> Result<()> {
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written.with_context(|| unwritable(&self.path))?;
        self.places.insert(key, Place { start: self.end, length: line.len() });
        self.end += line.len() as u64 + 1;
        Ok(())
    }

    /// Puts the lines about these into their order, and drops all others.
    pub fn finish<'k>(&self, keys: impl Iterator<Item = &'k K>) -> Result<()>
    where
        K: 'k,
    {
        let mut keys = keys;
        let copied = write_atomically(&self.path, |file| {
            keys.try_for_each(|key| match self.line(key).map_err(std::io::Error::other)? {
                Some(line) => writeln!(file, "{line}"),
                None => Ok(()),
            })
        });
        Ok(copied?)
    }
}

fn unreadable(path: &Path) -> String {
    format!("{}: cannot be read", path.display())
}

fn unwritable(path: &Path) -> String {
    format!("{}: cannot be written", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(line: &str) -> Option<usize> {
        line.split(' ').next()?.parse().ok()
    }

    #[test]
    fn a_line_that_was_torn_is_cut_off_and_the_others_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "2 two\n\nnonsense\n1 one\n2 again\n3 th").unwrap();
        let mut journal = Journal::resume(&path, key).unwrap();
        assert_eq!(journal.line(&2).unwrap().as_deref(), Some("2 again"));
        assert_eq!((journal.has(&1), journal.has(&3)), (true, false));
        journal.add(3, "3 three").unwrap();
        assert_eq!(journal.line(&3).unwrap().as_deref(), Some("3 three"));
        journal.finish([1, 2, 3].iter()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1 one\n2 again\n3 three\n");
    }

    #[test]
    fn a_journal_that_is_begun_anew_is_empty_and_belongs_to_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "1 one\n").unwrap();
        let journal = Journal::<usize>::begin(&path).unwrap();
        assert!(Journal::<usize>::is_empty(&path) && journal.line(&1).unwrap().is_none());
        let error = Journal::<usize>::begin(&path).err().unwrap().to_string();
        assert!(error.ends_with("journal: another run is writing it"), "{error}");
    }
}
