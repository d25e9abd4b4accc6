//! SHA-256 of what a run is made from.

use std::{
    fs::File,
    io::{Read, Result},
    path::{Path, PathBuf},
};

use fieldmark_model::digest::{Hasher, hexadecimal, sha256};

/// What a checkpoint's directory may hold beside its files.
const ENDINGS: [&str; 9] = ["bin", "ckpt", "json", "model", "pt", "pth", "safetensors", "txt", "vocab"];

/// A regular file's length in bytes and its SHA-256 in hexadecimal digits.
///
/// # Errors
/// If it cannot be read.
pub fn of_file(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hexadecimal(&hash.finish()))),
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// The SHA-256 of bytes in hexadecimal digits.
pub fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&sha256(bytes))
}

/// The SHA-256 of a checkpoint: of its files' names and hashes, `name`, a blank, `hash` and a line feed each, by
/// name. `files` are those that count, by their names; without any, those in the directory that a checkpoint is made of.
///
/// # Errors
/// If the directory or a file cannot be read.
pub fn of_checkpoint(directory: &Path, mut files: Vec<(String, PathBuf)>) -> Result<String> {
    if files.is_empty() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            if path.is_file() && is_of_a_checkpoint(&path) {
                files.push((entry.file_name().to_string_lossy().into_owned(), path));
            }
        }
    }
    files.sort();
    let mut all = Hasher::new();
    for (name, path) in files {
        let (_, hash) = of_file(&path)?;
        all.update(format!("{name} {hash}\n").as_bytes());
    }
    Ok(hexadecimal(&all.finish()))
}

fn is_of_a_checkpoint(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // The example of FIPS 180-2.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path).unwrap(), (3, expected.to_owned()));
        assert_eq!(of_bytes(b"abc"), expected);
    }

    #[test]
    fn a_checkpoint_is_its_files_and_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let hash = || of_checkpoint(folder.path(), Vec::new()).unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let first = hash();
        std::fs::write(folder.path().join("README.md"), "words").unwrap();
        assert_eq!(hash(), first, "what no reader opens does not count");
        std::fs::write(folder.path().join("config.json"), "{ }").unwrap();
        assert_ne!(hash(), first);
        std::fs::remove_file(folder.path().join("config.json")).unwrap();
        std::fs::write(folder.path().join("other.json"), "{}").unwrap();
        assert_ne!(hash(), first, "the name counts");
    }
}
