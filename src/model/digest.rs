//! SHA-256, which tells whether bytes are the same without keeping them.

use ring::digest::{Context, SHA256};

/// The hash of some bytes.
pub(super) type Digest = [u8; 32];

/// Hashes bytes that come piece by piece.
pub(super) struct Hasher(Context);

impl Hasher {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes more bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes a part of a record: with its length, so that it cannot pass for the start of the next one.
    pub(super) fn part(&mut self, bytes: &[u8]) {
        self.update(&(bytes.len() as u64).to_le_bytes());
        self.update(bytes);
    }

    /// The hash of all of it.
    pub(super) fn finish(self) -> Digest {
        let mut digest = Digest::default();
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

/// The hash of a record's parts.
pub(super) fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.part(part));
    hasher.finish()
}

/// The hash in letters and digits.
pub(super) fn hexadecimal(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_everyone_does() {
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hexadecimal(&hasher.finish()), expected);
    }

    #[test]
    fn a_byte_that_moves_from_one_part_to_the_next_is_seen() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
