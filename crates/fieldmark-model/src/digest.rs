//! SHA-256, which shows whether bytes are the same without keeping them, and git's hash of a file.

#[cfg(feature = "hub")]
use ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
use ring::digest::{Context, SHA256};

/// The hash of some bytes.
pub type Digest = [u8; 32];

/// Hashes bytes that come piece by piece.
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Takes a part of a record: with its length, so that it cannot pass for the start of the next one.
    pub fn part(&mut self, bytes: &[u8]) {
        self.update(&(bytes.len() as u64).to_le_bytes());
        self.update(bytes);
    }

    /// The hash of all of it.
    pub fn finish(self) -> Digest {
        let mut digest = Digest::default();
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

/// Hashes a file's contents as git does, whose repositories name them by it: SHA-1 over a header and the bytes.
#[cfg(feature = "hub")]
pub(crate) struct GitHasher(Context);

#[cfg(feature = "hub")]
impl GitHasher {
    /// Of a file with so many bytes.
    pub(crate) fn new(length: u64) -> Self {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(format!("blob {length}\0").as_bytes());
        Self(context)
    }

    /// Takes more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash in letters and digits.
    pub(crate) fn finish(self) -> String {
        hexadecimal(self.0.finish().as_ref())
    }
}

/// The SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// The hash of a record's parts, with their lengths.
pub fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.part(part));
    hasher.finish()
}

/// Bytes in hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

    #[cfg(feature = "hub")]
    #[test]
    fn names_contents_as_git_does() {
        // `git hash-object`
        assert_eq!(GitHasher::new(0).finish(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        let mut hasher = GitHasher::new(12);
        hasher.update(b"hello ");
        hasher.update(b"world\n");
        assert_eq!(hasher.finish(), "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
    }

    #[test]
    fn a_byte_that_moves_from_one_part_to_the_next_is_seen() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
