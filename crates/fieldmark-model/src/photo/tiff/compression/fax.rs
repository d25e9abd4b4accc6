//! Black and white as fax machines send it (ITU-T T.4 and T.6): runs of white and black in each row, which may be
//! described by how they differ from those of the row above.
//!
//! The `fax` crate has the tables of codes. Its own decoder wants every row to begin with an end-of-line code and knows
//! Group 3 in one dimension only, so the rows are put together here.

use std::borrow::Cow;
use std::io::{Error, ErrorKind, Read};

use fax::BitReader;
use fax::maps::{Mode, black, mode, white};

/// The forms that TIFF has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::photo::tiff) enum Form {
    /// Rows of runs, each from a whole byte (or 16-bit word) on, without codes for their ends.
    Rows { words: bool },
    /// T.4.
    Group3 { two_dimensional: bool },
    /// T.6.
    Group4,
}

impl Form {
    /// Whether codes mark where rows end.
    fn has_ends(self) -> bool {
        !matches!(self, Self::Rows { .. })
    }
}

/// Decodes row after row to packed bits, of which 1 is black.
pub(super) struct Fax<'a> {
    bits: Bits<'a>,
    form: Form,
    width: u32,
    /// Where the colour changes in the row above, and in this one; the first is from white to black.
    above: Vec<u32>,
    changes: Vec<u32>,
    row: Vec<u8>,
    given: usize,
}

impl<'a> Fax<'a> {
    pub(super) fn new(data: Cow<'a, [u8]>, form: Form, width: u32) -> Self {
        let row = vec![0; width.div_ceil(8) as usize];
        let given = row.len();
        let bits = Bits { data, at: 0 };
        Self { bits, form, width, above: Vec::new(), changes: Vec::new(), row, given }
    }

    fn next_row(&mut self) -> std::io::Result<()> {
        self.changes.clear();
        let two_dimensional = match self.form {
            Form::Rows { words } => {
                self.bits.align(if words { 16 } else { 8 });
                false
            }
            Form::Group3 { two_dimensional } => {
                self.bits.skip_end_of_line() && two_dimensional && !self.bits.take()
            }
            Form::Group4 => true,
        };
        // The data ends, or has the codes that end all rows: end-of-line twice.
        if self.bits.is_past_end() || self.form.has_ends() && self.bits.peek(11) == Some(0) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if two_dimensional {
            self.relative_row()?
        } else {
            self.absolute_row()?
        }
        self.draw();
        std::mem::swap(&mut self.above, &mut self.changes);
        Ok(())
    }

    /// A row of runs, white and black in turn.
    fn absolute_row(&mut self) -> std::io::Result<()> {
        let (mut at, mut is_black) = (0, false);
        while at < self.width {
            at = at.saturating_add(self.run(is_black)?).min(self.width);
            self.changes.push(at);
            is_black = !is_black;
        }
        Ok(())
    }

    /// A row that is described by the one above.
    fn relative_row(&mut self) -> std::io::Result<()> {
        // Before the first pixel there is one that is white, and a change may be at the first.
        let (mut at, mut is_black, mut begun, mut near) = (0, false, false, 0);
        while at < self.width {
            let (first, second) = self.changes_above(begun.then_some(at), is_black, &mut near);
            match mode::decode(&mut self.bits) {
                Some(Mode::Pass) => at = second,
                Some(Mode::Horizontal) => {
                    for colour in [is_black, !is_black] {
                        at = at.saturating_add(self.run(colour)?).min(self.width);
                        self.changes.push(at);
                    }
                }
                Some(Mode::Vertical(by)) => {
                    let to = i64::from(first) + i64::from(by);
                    at = u32::try_from(to).ok().filter(|&to| to >= at).ok_or_else(|| self.fault())?;
                    self.changes.push(at);
                    is_black = !is_black;
                }
                Some(Mode::Extension) => {
                    return Err(Error::new(ErrorKind::Unsupported, "fax rows that are not compressed"));
                }
                Some(Mode::EOF) | None => return Err(self.fault()),
            }
            begun = true;
        }
        Ok(())
    }

    /// The first change above that lies right of a place and is to the other colour, and the next; the row's end where
    /// there is none.
    fn changes_above(&self, at: Option<u32>, is_black: bool, near: &mut usize) -> (u32, u32) {
        let right = |change: u32| at.is_none_or(|at| change > at);
        while *near > 0 && right(self.above[*near - 1]) {
            *near -= 1;
        }
        while self.above.get(*near).is_some_and(|&change| !right(change)) {
            *near += 1;
        }
        let first = *near + usize::from((*near % 2 == 1) != is_black);
        let change =
            |index: usize| self.above.get(index).map_or(self.width, |&change| change.min(self.width));
        (change(first), change(first + 1))
    }

    /// The length of a run: multiples of 64, then the rest.
    fn run(&mut self, is_black: bool) -> std::io::Result<u32> {
        let mut sum = 0_u32;
        loop {
            let part = if is_black { black::decode(&mut self.bits) } else { white::decode(&mut self.bits) };
            let part = part.ok_or_else(|| self.fault())?;
            sum = sum.saturating_add(part.into()).min(self.width);
            if part < 64 {
                return Ok(sum);
            }
        }
    }

    fn fault(&self) -> Error {
        if self.bits.is_near_end() {
            ErrorKind::UnexpectedEof.into()
        } else {
            Error::new(ErrorKind::InvalidData, "its fax data has a code that does not exist")
        }
    }

    /// Makes pixels of the changes.
    fn draw(&mut self) {
        self.row.fill(0);
        for run in self.changes.chunks(2) {
            let end = run.get(1).copied().unwrap_or(self.width).min(self.width);
            fill_bits(&mut self.row, run[0].min(self.width) as usize, end as usize);
        }
    }
}

fn fill_bits(row: &mut [u8], from: usize, to: usize) {
    if from >= to {
        return;
    }
    let (first, last) = (from / 8, (to - 1) / 8);
    let (head, tail) = (0xff_u8 >> (from % 8), 0xff_u8 << (7 - (to - 1) % 8));
    if first == last {
        row[first] |= head & tail;
    } else {
        row[first] |= head;
        row[first + 1..last].fill(0xff);
        row[last] |= tail;
    }
}

impl Read for Fax<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.given == self.row.len() {
            self.next_row()?;
            self.given = 0;
        }
        let count = to.len().min(self.row.len() - self.given);
        to[..count].copy_from_slice(&self.row[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

/// Bits from the highest of a byte on; after the last there are zeros.
struct Bits<'a> {
    data: Cow<'a, [u8]>,
    at: usize,
}

impl Bits<'_> {
    fn is_past_end(&self) -> bool {
        self.at >= self.data.len() * 8
    }

    /// Whether no more follows than what fills the last bytes.
    fn is_near_end(&self) -> bool {
        self.at + 24 >= self.data.len() * 8
    }

    fn align(&mut self, bits: usize) {
        self.at = self.at.next_multiple_of(bits);
    }

    fn take(&mut self) -> bool {
        let bit = self.peek(1) == Some(1);
        self.at += 1;
        bit
    }

    /// Moves past an end-of-line code, with the zeros that may fill a byte before it, if there is one.
    fn skip_end_of_line(&mut self) -> bool {
        if self.peek(11) != Some(0) {
            return false;
        }
        while !self.is_past_end() && !self.take() {}
        true
    }
}

impl BitReader for Bits<'_> {
    type Error = std::convert::Infallible;

    fn peek(&self, bits: u8) -> Option<u16> {
        let first = self.at / 8;
        let byte = |index: usize| u32::from(self.data.get(first + index).copied().unwrap_or(0));
        let window = byte(0) << 16 | byte(1) << 8 | byte(2);
        let shifted = window >> (24 - u32::from(bits) - (self.at % 8) as u32);
        (bits <= 16).then_some((shifted & ((1 << bits) - 1)) as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<(), Self::Error> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        ((8 - self.at % 8) % 8) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bits: &str, form: Form, width: u32) -> std::io::Result<Vec<u8>> {
        let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        let data = bits
            .chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |sum, (at, bit)| sum | bit << (7 - at)));
        let mut fax = Fax::new(Cow::Owned(data.collect()), form, width);
        let mut rows = Vec::new();
        loop {
            let mut row = vec![0; width.div_ceil(8) as usize];
            match fax.read_exact(&mut row) {
                Ok(()) => rows.extend(row),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(rows),
                Err(error) => return Err(error),
            }
        }
    }

    #[test]
    fn rows_of_runs_with_and_without_codes_for_their_ends() {
        // White 4, black 4, white 8.
        let row = "1011 011 10011";
        let end = "000000000001";
        let expected = [0x0f, 0x00];
        assert_eq!(decode(row, Form::Rows { words: false }, 16).unwrap(), expected);
        let group3 = Form::Group3 { two_dimensional: false };
        assert_eq!(decode(row, group3, 16).unwrap(), expected);
        let both = format!("{end} {row} 0000 {end} {row} {end}{end}{end}{end}{end}{end}");
        assert_eq!(decode(&both, group3, 16).unwrap(), [0x0f, 0, 0x0f, 0]);
        let invalid = format!("{end} 1011 0000000000000000000010101010101010101010101010101010101");
        assert_eq!(decode(&invalid, group3, 16).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn rows_that_follow_the_one_above() {
        // The first row: horizontal with white 4 and black 4, then vertical to the end. The second the same: three times
        // straight below. The third: black from 0 to 8 (pass is not needed), by two to the left at most.
        let rows = "001 1011 011 1  1 1 1  001 00110101 000101 1";
        assert_eq!(decode(rows, Form::Group4, 16).unwrap(), [0x0f, 0, 0x0f, 0, 0xff, 0]);
    }

    #[test]
    fn bits_are_filled_across_bytes() {
        let mut row = [0; 3];
        fill_bits(&mut row, 3, 18);
        assert_eq!(row, [0x1f, 0xff, 0xc0]);
        fill_bits(&mut row, 0, 1);
        assert_eq!(row, [0x9f, 0xff, 0xc0]);
    }
}
