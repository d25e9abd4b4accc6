//! PackBits: bytes that repeat, or that stand for themselves.

use std::borrow::Cow;
use std::io::Read;

/// Decodes on demand.
pub(super) struct PackBits<'a> {
    data: Cow<'a, [u8]>,
    at: usize,
    /// Bytes that are left of a run, and its byte; of bytes as they are if there is none.
    left: usize,
    repeated: Option<u8>,
}

impl<'a> PackBits<'a> {
    pub(super) fn new(data: Cow<'a, [u8]>) -> Self {
        Self { data, at: 0, left: 0, repeated: None }
    }

    /// Reads the next run's header; false at the end of the data.
    fn next_run(&mut self) -> bool {
        while self.left == 0 {
            let Some(&header) = self.data.get(self.at) else { return false };
            self.at += 1;
            match header as i8 {
                -128 => {}
                header @ ..0 => {
                    let Some(&byte) = self.data.get(self.at) else { return false };
                    self.at += 1;
                    (self.left, self.repeated) = (usize::from(header.unsigned_abs()) + 1, Some(byte));
                }
                header => (self.left, self.repeated) = (header as usize + 1, None),
            }
        }
        true
    }
}

impl Read for PackBits<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let mut done = 0;
        while done < to.len() && self.next_run() {
            let mut count = self.left.min(to.len() - done);
            match self.repeated {
                Some(byte) => to[done..done + count].fill(byte),
                None => {
                    count = count.min(self.data.len() - self.at);
                    if count == 0 {
                        break;
                    }
                    to[done..done + count].copy_from_slice(&self.data[self.at..self.at + count]);
                    self.at += count;
                }
            }
            self.left -= count;
            done += count;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_of_apple_and_adobe_agree_on_their_example() {
        let packed =
            [0xfe, 0xaa, 0x02, 0x80, 0x00, 0x2a, 0xfd, 0xaa, 0x03, 0x80, 0x00, 0x2a, 0x22, 0xf7, 0xaa];
        let plain = [
            0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0xaa, 0xaa, 0xaa, 0xaa, 0x80, 0x00, 0x2a, 0x22, 0xaa, 0xaa,
            0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa,
        ];
        let mut found = Vec::new();
        PackBits::new(Cow::Borrowed(&packed)).read_to_end(&mut found).unwrap();
        assert_eq!(found, plain);
        for length in 0..packed.len() {
            found.clear();
            PackBits::new(Cow::Borrowed(&packed[..length])).read_to_end(&mut found).unwrap();
            assert!(plain.starts_with(&found) && found.len() < plain.len());
        }
    }
}
