//! A file that says something of each picture, line by line, becomes an index of where each picture's lines are.

use std::path::{Path, PathBuf};

use super::lines::{Line, Lines};
use fieldmark_model::error::{Error, Result};

/// The most lines that are read for one picture.
const MOST_LINES: usize = 100_000;

/// Where each picture's lines are: some 50 bytes for a picture whose lines are together, and 24 for every place where
/// others lie between them.
#[derive(Debug)]
pub(super) struct LineIndex {
    path: PathBuf,
    pictures: Vec<Vec<Run>>,
    last: Option<usize>,
}

/// Successive lines about one picture.
#[derive(Clone, Copy, Debug)]
struct Run {
    offset: u64,
    /// The first one's number.
    number: usize,
    lines: usize,
}

impl LineIndex {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), pictures: Vec::new(), last: None }
    }

    /// Notes that the next line is about a picture; pictures are numbered from 0.
    pub(super) fn add(&mut self, picture: usize, offset: u64, number: usize) {
        if self.pictures.len() <= picture {
            self.pictures.resize_with(picture + 1, Vec::new);
        }
        let runs = &mut self.pictures[picture];
        match runs.last_mut().filter(|_| self.last == Some(picture)) {
            Some(run) => run.lines += 1,
            None => runs.push(Run { offset, number, lines: 1 }),
        }
        self.last = Some(picture);
    }

    /// Notes that the next line is about none of the pictures.
    pub(super) fn skip(&mut self) {
        self.last = None;
    }

    /// Opens the file anew.
    pub(super) fn reader(&self) -> Result<IndexedLines<'_>> {
        Ok(IndexedLines { index: self, lines: Lines::open(&self.path)? })
    }
}

/// A file whose lines are read picture by picture.
pub(super) struct IndexedLines<'a> {
    index: &'a LineIndex,
    lines: Lines,
}

impl IndexedLines<'_> {
    /// Hands over the lines about a picture.
    ///
    /// # Errors
    /// Those of reading and of `take`; [`Error::Dataset`] if there are more than 100,000.
    pub(super) fn of(&mut self, picture: usize, take: &mut dyn FnMut(Line<'_>) -> Result<()>) -> Result<()> {
        let runs = self.index.pictures.get(picture).map_or(&[][..], Vec::as_slice);
        let found: usize = runs.iter().map(|run| run.lines).sum();
        if found > MOST_LINES {
            let line = runs.first().map_or(0, |run| run.number);
            let reason =
                format!("line {line}: expected at most {MOST_LINES} lines about one picture, found {found}");
            return Err(Error::Dataset { path: self.index.path.clone(), reason });
        }
        for run in runs {
            self.lines.go_to(run.offset, run.number)?;
            for _ in 0..run.lines {
                self.lines.next()?.map_or(Ok(()), &mut *take)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_wherever_they_are() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.txt");
        std::fs::write(&path, "0 a\n1 b\n\n1 c\n9 x\n1 d\n0 e\n").unwrap();
        let mut index = LineIndex::new(&path);
        let mut lines = Lines::open(&path)?;
        while let Some(line) = lines.next()? {
            match line.bytes[0] {
                b'9' => index.skip(),
                digit => index.add(usize::from(digit - b'0'), line.offset, line.number),
            }
        }
        assert_eq!(index.pictures.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        let mut reader = index.reader()?;
        let mut found = |picture| {
            let mut found = Vec::new();
            reader
                .of(picture, &mut |line| {
                    found.push((line.number, char::from(line.bytes[2])));
                    Ok(())
                })
                .map(|()| found)
        };
        assert_eq!(found(1)?, [(2, 'b'), (4, 'c'), (6, 'd')]);
        assert_eq!(found(0)?, [(1, 'a'), (7, 'e')]);
        assert_eq!(found(5)?, []);
        Ok(())
    }
}
