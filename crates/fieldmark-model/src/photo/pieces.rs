//! Several byte strings that a decoder reads as one file: a mended header before data that stays where it is.

use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind, Read, Seek, SeekFrom};

/// Byte strings one after the other.
pub(super) struct Pieces<'a> {
    pieces: Vec<Cow<'a, [u8]>>,
    /// Where each piece begins, and the end of the last.
    starts: Vec<usize>,
    at: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(pieces: Vec<Cow<'a, [u8]>>) -> Self {
        let mut starts = vec![0];
        starts.extend(pieces.iter().scan(0, |end, piece| {
            *end += piece.len();
            Some(*end)
        }));
        Self { pieces, starts, at: 0 }
    }

    fn length(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// What is left of the piece that is being read.
    fn rest(&self) -> &[u8] {
        let piece = self.starts.partition_point(|&start| start <= self.at) - 1;
        match (self.pieces.get(piece), self.starts.get(piece)) {
            (Some(bytes), Some(start)) => bytes.get(self.at - start..).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.rest();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.rest())
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.length());
    }
}

impl Seek for Pieces<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let from = |start: usize, by: i64| (start as u64).checked_add_signed(by);
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => from(self.at, by),
            SeekFrom::End(by) => from(self.length(), by),
        };
        let at = at.and_then(|at| usize::try_from(at).ok());
        self.at = at.ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
        Ok(self.at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_as_one_file() {
        let pieces: [&[u8]; 5] = [b"one ", b"", b"two ", b"", b"three"];
        let mut pieces = Pieces::new(pieces.map(Cow::Borrowed).to_vec());
        let mut text = String::new();
        pieces.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two three");
        assert_eq!(pieces.fill_buf().unwrap(), b"");
        assert_eq!(pieces.seek(SeekFrom::Start(5)).unwrap(), 5);
        assert_eq!(pieces.fill_buf().unwrap(), b"wo ");
        assert_eq!(pieces.seek(SeekFrom::Current(3)).unwrap(), 8);
        assert_eq!(pieces.fill_buf().unwrap(), b"three");
        assert_eq!(pieces.seek(SeekFrom::End(20)).unwrap(), 33);
        assert_eq!(pieces.fill_buf().unwrap(), b"");
        assert!(pieces.seek(SeekFrom::Current(-34)).is_err());
        assert_eq!(Pieces::new(Vec::new()).fill_buf().unwrap(), b"");
    }
}
