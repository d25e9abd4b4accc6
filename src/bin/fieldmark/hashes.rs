//! SHA-256 of what a run was made from.

use std::{
    fs::File,
    io::{Read, Result},
    path::{Path, PathBuf},
};

use fieldmark::dataset::Picture;
use ring::digest::{Context, SHA256};

/// What a checkpoint's directory may hold beside its files.
const ENDINGS: [&str; 9] = ["bin", "ckpt", "json", "model", "pt", "pth", "safetensors", "txt", "vocab"];

/// A regular file's length in bytes and its SHA-256 in hexadecimal digits.
pub fn of_file(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hexadecimal(context))),
            read => {
                context.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// The SHA-256 of bytes in hexadecimal digits.
pub fn of_bytes(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    hexadecimal(context)
}

/// The SHA-256 of a checkpoint: of its files' names and hashes, `name`, a blank, `hash` and a line feed each, by
/// name. `files` are those that count, by their names; without any, those in the directory that a checkpoint is made of.
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
    let mut context = Context::new(&SHA256);
    for (name, path) in files {
        let (_, hash) = of_file(&path)?;
        context.update(format!("{name} {hash}\n").as_bytes());
    }
    Ok(hexadecimal(context))
}

/// The SHA-256 of what a data set asks: of every picture's name and questions, in their order.
pub fn of_questions(pictures: impl Iterator<Item = fieldmark::Result<Picture>>) -> fieldmark::Result<String> {
    let mut context = Context::new(&SHA256);
    for picture in pictures {
        let Picture { name, questions, .. } = picture?;
        context.update(format!("{name:?} {questions:?}\n").as_bytes());
    }
    Ok(hexadecimal(context))
}

fn is_of_a_checkpoint(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

fn hexadecimal(context: Context) -> String {
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
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
